"""What the extractors of all levels refuse, and what they say."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from tests.roi_extractors.test_soft_roi_extractor import (
    ROI_LAYER,
    build,
    feature_maps,
    some_rois,
)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(fusion="mean"), ValueError, "fusion must be one of .*'acf'.*got 'mean'"),
        (dict(featmap_strides=[4]), ValueError, r"at least 2 levels.*got \[4\]"),
        (dict(featmap_strides=4), TypeError, "featmap_strides must be a list, got 4"),
        (dict(out_channels=0), ValueError, "out_channels must be at least 1"),
        (dict(roi_layer="RoIAlign"), TypeError, "roi_layer must be a dict"),
        (dict(roi_layer={**ROI_LAYER, "legacy": True, "aligned": False}), ValueError,
         "roi_layer must describe a pooling.*argument 'aligned'"),
        (dict(roi_layer=dict(type="RoIAlign", output_size=7, inclusive=False)),
         ValueError, "roi_layer must describe a pooling.*inclusive"),
        (dict(roi_layer={**ROI_LAYER, "legacy": True, "inclusive": 1}), ValueError,
         "inclusive must be True or False, got 1"),
        (dict(roi_layer=dict(type="RoIPool", output_size=7, legacy=True)), ValueError,
         "roi_layer with legacy=True must have type='RoIAlign'"),
    ],
)  # fmt: skip
def test_wrong_arguments(changes: dict, error, message: str) -> None:
    with pytest.raises(error, match=message):
        build(**changes)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="expected 4 feature maps.*got 3"):
        build()(feature_maps()[:3], some_rois())
    for fusion in ("sum", "max"):
        with pytest.raises(ValueError, match="'sum' and 'max' have no level weights"):
            build(fusion).level_weights(feature_maps(), some_rois())


ROIS = torch.tensor([[0.0, 1, 2, 20, 30], [1, 3, 4, 9, 9]])


def changed(row: int, column: int, value: float) -> Tensor:
    rois = ROIS.clone()
    rois[row, column] = value
    return rois


WRONG_ROIS = {
    "image too high": changed(1, 0, 2),
    "image below 0": changed(1, 0, -1),
    "NaN": changed(0, 2, math.nan),
    "infinite": changed(0, 3, math.inf),
    "inside out": changed(0, 3, 0),
    "four columns": ROIS[:, 1:],
    "one dimension": ROIS[0],
    "no tensor": ROIS.tolist(),
}
WRONG_MAPS: dict[str, Callable[[list[Tensor]], Any]] = {
    "one map less": lambda feats: feats[1:],
    "other batch": lambda feats: [torch.cat([feats[0]] * 2), *feats[1:]],
    "unbatched maps": lambda feats: [x[0] for x in feats],
    "no list of maps": lambda feats: feats[0],
}


@pytest.mark.parametrize("kind", ["SoftRoIExtractor", "AllLevelRoIExtractor"])
@pytest.mark.parametrize("fault", [*WRONG_ROIS, *WRONG_MAPS])
def test_inputs_that_do_not_fit(kind: str, fault: str) -> None:
    layer = dict(type="RoIAlign", output_size=2)
    config = dict(type=kind, roi_layer=layer, out_channels=2, featmap_strides=[4, 8])
    feats = WRONG_MAPS.get(fault, list)(feature_maps(2, (32, 48))[:2])
    said = "feature map" if fault in WRONG_MAPS else "rois"
    with pytest.raises((ValueError, TypeError), match=said):
        MODELS.build(config)(feats, WRONG_ROIS.get(fault, ROIS))
