"""The recipe of docs/sliced_inference.md for SAHI, which nothing here needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmdet.apis import init_detector

import fpn_necks  # noqa: F401  registers the necks
from fpn_necks.inference import detect_sliced
from tests.inference.small_detectors import NAMES, noise, write_detector
from tests.inference.test_sliced import assert_same

sahi = pytest.importorskip("sahi", reason="SAHI is not installed (pip install sahi)")


@pytest.mark.parametrize("name", NAMES)
def test_recipe(name: str, tmp_path: Path) -> None:
    from sahi.predict import get_sliced_prediction

    config, checkpoint = write_detector(tmp_path, name)
    image = noise(118, 86, seed=3)
    model = sahi.AutoDetectionModel.from_pretrained(
        model_type="mmdet",
        config_path=str(config),
        model_path=str(checkpoint),
        confidence_threshold=0.0,
        device="cpu",
    )
    result = get_sliced_prediction(
        np.ascontiguousarray(image[..., ::-1]),  # SAHI's arrays are RGB
        model,
        slice_width=64,
        slice_height=48,
        overlap_width_ratio=10 / 64 + 1e-6,
        overlap_height_ratio=10 / 48 + 1e-6,
        perform_standard_pred=False,
        postprocess_type="NMS",
        postprocess_match_metric="IOU",
        postprocess_match_threshold=0.5,
        verbose=0,
    )
    found = [
        [p.category.id, p.score.value, *p.bbox.to_xyxy()]
        for p in result.object_prediction_list
    ]
    detector = init_detector(str(config), str(checkpoint), device="cpu")
    expected = detect_sliced(
        detector, image, (64, 48), (10, 10), border_margin=None
    ).pred_instances
    assert len(found) > 20
    assert_same(expected, np.array(found), score=1e-5)
