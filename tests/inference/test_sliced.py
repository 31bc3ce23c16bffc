"""Sliced detection: against mmdet on one tile, the truth on several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures import DetDataSample
from torch import nn

from fpn_necks.inference import detect_sliced
from tests.inference.small_detectors import (
    PER_TILE,
    ColourDetector,
    draw_objects,
    noise,
    place_objects,
    sorted_boxes,
)

FIELDS = ("bboxes", "scores", "labels")


class TestOneTile:
    def test_equals_mmdet(self, detector: nn.Module, tmp_path: Path) -> None:
        image = noise(96, 64)
        path = tmp_path / "image.png"
        cv2.imwrite(str(path), image)
        expected = inference_detector(detector, image).pred_instances
        assert len(expected) == PER_TILE
        for source in (image, path):
            result = detect_sliced(detector, source, (96, 64), also_whole_image=True)
            for field in FIELDS:
                actual = result.pred_instances[field]
                assert torch.equal(actual, expected[field]), field
            assert result.ori_shape == result.img_shape == (64, 96)
            assert result.img_path == (None if source is image else str(path))

    def test_threshold_and_limit(self, detector: nn.Module) -> None:
        image = noise(96, 64)
        expected = inference_detector(detector, image).pred_instances
        middle = expected.scores[6].item()
        result = detect_sliced(detector, image, score_threshold=middle)
        assert (result.pred_instances.scores >= middle).all()
        assert 7 <= len(result.pred_instances) < PER_TILE
        result = detect_sliced(detector, image, max_detections=3)
        assert torch.equal(result.pred_instances.bboxes, expected.bboxes[:3])


class TestScenes:
    """An errorless detector finds all objects, once, wherever the borders lie."""

    @pytest.mark.parametrize(("seed", "best"), [(0, "large"), (1, "small")])
    def test_all_objects_and_no_parts(self, seed: int, best: str) -> None:
        random = np.random.default_rng(seed)
        width, height = random.integers(90, 400, 2).tolist()
        tile = tuple(random.integers(60, 140, 2).tolist())
        truth = place_objects(width, height, (3, 20), 60, seed)
        image = draw_objects(width, height, truth)
        result = detect_sliced(
            ColourDetector(best=best), image, tile, (20, 20), border_margin=0
        )
        assert sorted_boxes(result) == sorted(truth.tolist())
        numbers = {tuple(box): i for i, box in enumerate(truth.tolist(), 1)}
        found = result.pred_instances
        for box, label in zip(found.bboxes.tolist(), found.labels, strict=True):
            assert numbers[tuple(map(int, box))] % 3 == label

    def test_whole_image_finds_what_no_tile_holds(self) -> None:
        truth = np.array([[10, 20, 190, 140], [220, 10, 230, 20]])
        image = draw_objects(300, 240, truth)
        options = dict(tile_wh=(80, 70), overlap_wh=(20, 20), border_margin=0)
        model = ColourDetector()
        result = detect_sliced(model, image, **options)
        assert [10, 20, 190, 140] not in sorted_boxes(result)
        result = detect_sliced(model, image, **options, also_whole_image=True)
        assert all(box in sorted_boxes(result) for box in truth.tolist())
        assert model.batches[-1] == [(240, 300)]

    @pytest.mark.parametrize(
        ("options", "count"),
        [({}, 2), (dict(per_class=False), 1), (dict(nms_threshold=None), 4)],
    )
    def test_doubles(self, options: dict[str, Any], count: int) -> None:
        """Two objects of two classes, one before the other, are in two tiles."""
        truth = np.array([[60, 10, 80, 30], [61, 11, 80, 30]])
        image = draw_objects(140, 64, truth)
        tiles = dict(tile_wh=(90, 64), overlap_wh=(40, 20), border_margin=None)
        found = detect_sliced(ColourDetector(), image, **tiles, **options)
        boxes = found.pred_instances.bboxes.tolist()
        assert boxes == sorted(truth.tolist() * 2)[:: 4 // count][:count]
        scores = found.pred_instances.scores
        assert (scores[1:] <= scores[:-1]).all()


class TestTiles:
    @pytest.mark.parametrize(
        ("size", "batches"),
        [
            ((64, 48), [[(48, 64)]]),
            ((1, 1), [[(1, 1)]]),
            ((30, 49), [[(48, 30)] * 2]),
            ((65, 49), [[(48, 64)] * 3, [(48, 64)]]),
            ((200, 20), [[(20, 64)] * 3, [(20, 64)]]),
        ],
    )
    def test_sizes_and_batches(self, size: tuple[int, int], batches: list) -> None:
        model = ColourDetector()
        truth = np.array([[size[0] - 1, size[1] - 1, *size]])  # the last pixel
        image = draw_objects(*size, truth)
        result = detect_sliced(model, image, (64, 48), (10, 6), batch_size=3)
        assert model.batches == batches
        assert sorted_boxes(result) == truth.tolist()

    def test_one_batch_at_a_time_and_the_image_stays(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events: list[str] = []
        model = ColourDetector()
        step, pack = model.test_step, PackDetInputs.transform

        def test_step(data: dict[str, Any]) -> list[DetDataSample]:
            events.append("forward")
            return step(data)

        def transform(self: PackDetInputs, results: dict) -> dict:
            events.append("tile")
            results["img"][:] = 0  # as a step may
            return pack(self, results)

        monkeypatch.setattr(PackDetInputs, "transform", transform)
        model.test_step = test_step
        image = noise(200, 100)
        detect_sliced(model, image, (50, 50), (0, 0), batch_size=2)
        assert events == ["tile", "tile", "forward"] * 4
        assert (image == noise(200, 100)).all()

    def test_resizing(self) -> None:
        """Of tiles if wanted, of the whole image always."""
        truth = np.array([[10, 12, 20, 18], [70, 50, 76, 60]])
        image = draw_objects(80, 64, truth)
        resize = dict(type="mmdet.Resize", scale=(160, 128), interpolation="nearest")
        for resize_tiles, shape in ((True, (128, 160)), (False, (32, 40))):
            model = ColourDetector(steps=(resize,))
            options = dict(resize_tiles=resize_tiles, also_whole_image=True)
            result = detect_sliced(model, image, (40, 32), (0, 0), **options)
            assert model.batches == [[shape] * 4, [(128, 160)]]
            assert sorted_boxes(result) == truth.tolist()
