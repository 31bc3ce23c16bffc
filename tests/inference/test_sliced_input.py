"""Sliced detection: images, settings and models of all kinds, wrong ones too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from fpn_necks.inference import detect_sliced, read_image
from tests.inference.small_detectors import (
    ColourDetector,
    draw_objects,
    noise,
    sorted_boxes,
)


class TestInput:
    truth = np.array([[10, 12, 20, 18]])
    image = draw_objects(80, 64, truth)

    @pytest.mark.parametrize(
        "loader",
        [
            dict(type="LoadImageFromFile", to_float32=True),
            dict(type="mmcv.LoadImageFromFile", imdecode_backend="pillow"),
            dict(type="LoadImageTile", cache_size=3),
        ],
    )
    def test_loaders(self, loader: dict[str, Any], tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        cv2.imwrite(str(path), self.image)
        model = ColourDetector(loader=loader)
        for source in (path, self.image):
            model.kinds.clear()
            assert sorted_boxes(detect_sliced(model, source)) == self.truth.tolist()
            to_float32 = loader.get("to_float32", False)
            assert model.kinds == {torch.float32 if to_float32 else torch.uint8}
        assert read_image(path, model).dtype == (np.float32 if to_float32 else np.uint8)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("color_type", ["grayscale", "unchanged"])
    def test_what_the_loader_gives_reaches_the_network(
        self, color_type: str, dtype: type, tmp_path: Path
    ) -> None:
        """Channels and number type are the loader's, in tiles too."""
        seen: list[tuple] = []

        class Looks(ColourDetector):
            def find(self, view: torch.Tensor, sample: DetDataSample) -> InstanceData:
                seen.append((len(view), view.dtype))
                return super().find(torch.zeros(3, 4, 4), sample)

        path = tmp_path / "image.png"
        image = noise(80, 64).astype(dtype)[..., : 1 if dtype is np.uint16 else 3]
        cv2.imwrite(str(path), image)
        model = Looks(loader=dict(type="LoadImageFromFile", color_type=color_type))
        kept = dtype if color_type == "unchanged" else np.uint8
        channels = 1 if color_type == "grayscale" else image.shape[2]
        loaded = read_image(path, model)
        assert loaded.dtype == kept
        for source in (path, loaded):
            seen.clear()
            detect_sliced(model, source, (40, 32), (0, 0))
            assert set(seen) == {(channels, torch.from_numpy(loaded).dtype)}

    def test_gray(self, detector: nn.Module, tmp_path: Path) -> None:
        gray = noise(96, 64)[..., 0]
        path = tmp_path / "gray.png"
        cv2.imwrite(str(path), gray)
        colour = np.stack([gray] * 3, -1)
        expected = inference_detector(detector, colour).pred_instances
        for source in (path, gray, gray[..., None]):
            result = detect_sliced(detector, source)
            assert torch.equal(result.pred_instances.bboxes, expected.bboxes)

    def test_nothing_found(self) -> None:
        for tile in ((80, 64), (40, 32)):
            options = dict(border_margin=1, also_whole_image=True)
            image = np.zeros((64, 80, 3), np.uint8)
            result = detect_sliced(ColourDetector(), image, tile, (8, 8), **options)
            found = result.pred_instances
            assert found.bboxes.shape == (0, 4)
            assert found.scores.shape == found.labels.shape == (0,)

    @pytest.mark.parametrize(
        ("backend", "reason"),
        # Pillow says what is wrong, OpenCV does not.
        [("pillow", "(identify|Truncated)"), ("cv2", "damaged, too large or")],
    )
    def test_damaged_and_missing_files(
        self, backend: str, reason: str, tmp_path: Path
    ) -> None:
        loader = dict(type="LoadImageFromFile", imdecode_backend=backend)
        model, path = ColourDetector(loader=loader), tmp_path / "damaged.png"
        for content in (b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"0" * 50):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=f"the image .*damaged.png.*{reason}"):
                detect_sliced(model, path)
        path.unlink()
        with pytest.raises(FileNotFoundError, match="damaged.png"):
            detect_sliced(model, path)

    @pytest.mark.parametrize(
        ("image", "error", "message"),
        [
            (np.zeros((8, 8, 4), np.uint8), ValueError, r"shape \(8, 8, 4\)"),
            (np.zeros((0, 8, 3), np.uint8), ValueError, r"shape \(0, 8, 3\)"),
            (np.zeros((8, 8, 3), np.uint32), TypeError, "uint32"),
            (torch.zeros(8, 8, 3), TypeError, "float32"),
            (None, TypeError, "NoneType"),
        ],
    )
    def test_wrong_image(self, image: Any, error: type, message: str) -> None:
        with pytest.raises(error, match=message):
            detect_sliced(ColourDetector(), image)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (dict(tile_wh=(50, 50)), "overlap_wh must be smaller"),
            (dict(batch_size=0), "batch_size must be at least 1, got 0"),
            (dict(nms_threshold=0), "nms_threshold"),
            (dict(score_threshold=30), "score_threshold"),
            (dict(max_detections=0), "max_detections"),
            (dict(border_margin=-1), "border_margin"),
        ],
    )
    def test_wrong_settings(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            detect_sliced(ColourDetector(), "not read", **options)

    @pytest.mark.parametrize(
        ("dataset", "message"),
        [
            (None, "no test pipeline"),
            (dict(pipeline=[]), "must start by loading"),
            (dict(pipeline=[dict(type="mmdet.Resize")]), r"must .* got \['Resize'\]"),
        ],
    )
    def test_wrong_models(self, dataset: Any, message: str) -> None:
        with pytest.raises(ValueError, match="model.eval()"):
            detect_sliced(ColourDetector().train(), self.image)
        model = ColourDetector()
        model.cfg = Config(dict(test_dataloader=dataset and dict(dataset=dataset)))
        with pytest.raises(ValueError, match=message):
            detect_sliced(model, self.image)


def answering(change: Callable[[DetDataSample], object]) -> ColourDetector:
    model = ColourDetector()
    step = model.test_step

    def test_step(data: dict[str, Any]) -> list[DetDataSample]:
        samples = step(data)
        for sample in samples:
            change(sample)
        return samples

    model.test_step = test_step
    return model


def test_other_results() -> None:
    """Masks, rotated boxes, none at all."""
    image = TestInput.image
    masks, rotated = torch.zeros(1, 64, 80, dtype=torch.bool), torch.zeros(1, 5)
    model = answering(lambda x: x.pred_instances.set_field(masks, "masks"))
    with pytest.raises(ValueError, match="ignore_masks=True"):
        detect_sliced(model, image)
    result = detect_sliced(model, image, ignore_masks=True)
    assert sorted_boxes(result) == [[10, 12, 20, 18]]
    assert set(result.pred_instances.keys()) == {"bboxes", "scores", "labels"}
    model = answering(lambda x: x.pred_instances.set_field(rotated, "bboxes"))
    with pytest.raises(ValueError, match="4 numbers, got 5"):
        detect_sliced(model, image)
    model = answering(lambda sample: delattr(sample, "pred_instances"))
    with pytest.raises(ValueError, match="the ColourDetector gives no boxes"):
        detect_sliced(model, image)
