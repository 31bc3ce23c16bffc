"""RoI extractors on drawn arguments, maps and RoIs, also outside and without area."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from mmdet.registry import MODELS
from torch import Tensor, nn

import fpn_necks.roi_extractors  # noqa: F401
from tests.robustness.fuzzing import fuzz

Config = dict[str, Any]
pytest.importorskip("mmcv.ops")


@st.composite
def extractors(draw: st.DrawFn) -> Config:
    kind = draw(st.sampled_from(["SoftRoIExtractor", "AllLevelRoIExtractor"]))
    side = st.integers(1, 4)
    layer = dict(
        type="RoIAlign",
        output_size=draw(side | st.tuples(side, side)),
        sampling_ratio=draw(st.integers(0, 3)),
    )
    if draw(st.booleans()):
        layer["legacy"] = True
    least = 2 if kind == "SoftRoIExtractor" else 1
    config = dict(
        type=kind,
        roi_layer=layer,
        out_channels=draw(st.integers(1, 4)),
        featmap_strides=[4 * 2**i for i in range(draw(st.integers(least, 4)))],
    )
    if kind == "SoftRoIExtractor":
        config["fusion"] = draw(st.sampled_from(["asf", "acf", "sum", "max"]))
    return config


# Inside, outside, without area, thousands of pixels away.
COORDINATES = (
    st.integers(-20, 80)
    | st.sampled_from([0, 15, 16, 31.999, 64])
    | st.floats(-3000, 3000, width=32)
)


@st.composite
def drawn_rois(draw: st.DrawFn, images: int) -> Tensor:
    rows = draw(
        st.lists(st.tuples(st.integers(0, images - 1), *[COORDINATES] * 4), max_size=6)
    )
    rois = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    kind = draw(st.sampled_from(["any", "any", "no width", "no area", "outside"]))
    if kind in ("no width", "no area"):
        rois[:, 3] = rois[:, 1]
    if kind == "no area":
        rois[:, 4] = rois[:, 2]
    if kind == "outside":
        rois[:, 1:] = rois[:, 1:].abs() + 1000
    low, high = rois[:, 1:3], rois[:, 3:]
    return torch.cat([rois[:, :1], low.minimum(high), low.maximum(high)], dim=1)


def build(config: Config) -> nn.Module:
    torch.manual_seed(0)
    extractor = MODELS.build(config)
    extractor.init_weights()
    return extractor


def maps_of(config: Config, images: int, size: tuple[int, int]) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(
            images,
            config["out_channels"],
            math.ceil(size[0] / stride),
            math.ceil(size[1] / stride),
            generator=random,
        ).requires_grad_()
        for stride in config["featmap_strides"]
    ]


@fuzz(150, config=extractors(), data=st.data())
def test_allowed_extractors(config: Config, data: st.DataObject) -> None:
    images = data.draw(st.integers(1, 3), "images")
    size = data.draw(st.tuples(st.integers(8, 64), st.integers(8, 64)), "size")
    rois = data.draw(drawn_rois(images), "rois")
    extractor, feats = build(config), maps_of(config, images, size)
    scale = data.draw(st.sampled_from([None, None, 0.5, 2.0]), "scale")
    result = extractor(feats, rois, scale)
    out = config["roi_layer"]["output_size"]
    out = out if isinstance(out, tuple) else (out, out)
    count = len(rois)
    if config["type"] == "AllLevelRoIExtractor":
        count *= len(config["featmap_strides"])
    assert tuple(result.shape) == (count, config["out_channels"], *out)
    assert result.isfinite().all()
    random = torch.Generator().manual_seed(2)
    (result * torch.randn(result.shape, generator=random)).sum().backward()
    for x in (*extractor.parameters(), *feats):
        assert x.grad is not None and x.grad.isfinite().all()


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
    feats = WRONG_MAPS.get(fault, list)(maps_of(config, 2, (32, 48)))
    said = "feature map" if fault in WRONG_MAPS else "rois"
    with pytest.raises((ValueError, TypeError), match=said):
        build(config)(feats, WRONG_ROIS.get(fault, ROIS))
