"""Scale Match: sizes after it, its fallbacks, and its place in mmdet's pipelines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.utils import register_all_modules

from fpn_necks.datasets.transforms import MonotonicScaleMatch, ScaleMatch
from fpn_necks.datasets.transforms.size_histogram import annotated_sizes
from tests.tiny_sets import CLASSES, write_coco_set

from .test_size_histogram import distance

register_all_modules()
WIDE = dict(scale_range=(0.0, 1e6))


def annotations_of(path: Path, sizes: np.ndarray) -> str:
    """Write a set whose boxes, one per image, have these sizes and many shapes."""
    random = np.random.default_rng(0)
    aspects = random.uniform(0.5, 2, len(sizes)) ** 0.5
    coco = dict(
        images=[
            dict(id=k, file_name=f"{k}.png", width=900, height=900)
            for k in range(len(sizes))
        ],
        annotations=[
            dict(id=k, image_id=k, category_id=1, bbox=[0, 0, size * a, size / a])
            for k, (size, a) in enumerate(zip(sizes.tolist(), aspects, strict=True))
        ],
        categories=[dict(id=1, name="person")],
    )
    path.write_text(json.dumps(coco))
    return str(path)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    sizes = np.random.default_rng(1).lognormal(2.5, 0.6, 3000) + 3
    return annotations_of(tmp_path_factory.mktemp("target") / "target.json", sizes)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    sizes = np.random.default_rng(2).gamma(2, 60, 300) + 8
    return annotations_of(tmp_path_factory.mktemp("source") / "source.json", sizes)


def sample(*boxes: list[float], ignored: tuple[int, ...] = (), shape=(200, 300)):
    flags = np.zeros(len(boxes), dtype=bool)
    flags[list(ignored)] = True
    return dict(
        img=np.zeros((*shape, 3), dtype=np.uint8),
        img_shape=shape,
        gt_bboxes=HorizontalBoxes(np.array(boxes, dtype=np.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=flags,
    )


class TestDistribution:
    def test_mapped_sizes_have_that_of_the_target_and_keep_their_order(
        self, target: str, source: str
    ) -> None:
        transform = MonotonicScaleMatch(source, target, **WIDE)
        before, wanted = np.sort(annotated_sizes(source)), annotated_sizes(target)
        after = np.array([s * transform.choose_scale(s) for s in before])
        assert distance(after, wanted) < 0.03
        assert (np.diff(after) > -1e-9).all()
        ends = transform.map_size(1e-3), transform.map_size(1e6)
        assert ends == (wanted.min(), wanted.max())

    def test_a_range_cuts_the_distribution(self, target: str) -> None:
        np.random.seed(0)
        transform = ScaleMatch(target, scale_range=(0.1, 1.0))
        scales = np.array([transform.choose_scale(12.0) for _ in range(2000)])
        assert scales.min() > 0.1 and scales.max() == 1
        share = (annotated_sizes(target) >= 12).mean()  # too large, five times
        assert 0.1 < share**5 == pytest.approx((scales == 1).mean(), abs=0.04)


class TestScale:
    def fixed(self, target: str, drawn: float, **options) -> ScaleMatch:
        transform = ScaleMatch(target, **options)
        transform.target = type("One", (), dict(draw=lambda _: drawn))()
        return transform

    def test_is_drawn_size_over_geometric_mean(self, target: str) -> None:
        results = self.fixed(target, 8.0)(sample([0, 0, 8, 8], [0, 0, 64, 16]))
        # sqrt(8 * 32) = 16, so the scale is a half.
        assert results["img"].shape == (100, 150, 3)
        assert results["img_shape"] == (100, 150)
        assert results["scale_factor"] == (0.5, 0.5)
        assert results["gt_bboxes"].tensor.tolist() == [[0, 0, 4, 4], [0, 0, 32, 8]]
        assert results["homography_matrix"][0, 0] == 0.5

    def test_ignored_boxes_do_not_count_but_are_scaled(self, target: str) -> None:
        results = sample([0, 0, 16, 16], [0, 0, 100, 100], ignored=(1,))
        results = self.fixed(target, 8.0)(results)
        assert results["gt_bboxes"].tensor[1].tolist() == [0, 0, 50, 50]
        assert results["gt_ignore_flags"].tolist() == [False, True]

    def test_boxes_below_two_pixels_are_dropped(self, target: str) -> None:
        boxes = [[0, 0, 16, 16], [0, 0, 3.9, 64], [0, 0, 4, 64], [0, 0, 64, 3]]
        results = sample(*boxes, ignored=(3,))
        geometric_mean = (16 * (3.9 * 64) ** 0.5 * 16) ** (1 / 3)
        results = self.fixed(target, geometric_mean / 2)(results)
        assert results["gt_bboxes_labels"].tolist() == [0, 2]
        assert len(results["gt_bboxes"]) == len(results["gt_ignore_flags"]) == 2

    @pytest.mark.parametrize("default_scale", [1.0, 0.25])
    def test_images_left_empty_fall_back(
        self, target: str, default_scale: float
    ) -> None:
        results = sample([0, 0, 20, 20], [0, 0, 80, 80], ignored=(1,))
        transform = self.fixed(target, 1.9, default_scale=default_scale)
        results = transform(results)
        # The ignored box alone would still be large enough: it is nothing to learn.
        assert results["gt_bboxes"].tensor[0, 2] == 20 * default_scale
        assert len(results["gt_bboxes"]) == 2

    @pytest.mark.parametrize("boxes", [[], [[0, 0, 9, 9]], [[5, 5, 5, 9]]])
    def test_images_without_a_box_to_learn_from(self, target: str, boxes) -> None:
        ignored = (0,) if boxes and boxes[0][2] == 9 else ()
        transform = self.fixed(target, 8.0, default_scale=0.5)
        results = transform(sample(*boxes, ignored=ignored))
        assert results["img"].shape[:2] == (100, 150)
        assert len(results["gt_bboxes"]) == len(boxes)

    @pytest.mark.parametrize(("drawn", "scale"), [(100, 2.0), (1, 0.5), (8, 0.8)])
    def test_out_of_range(self, target: str, drawn: float, scale: float) -> None:
        transform = self.fixed(target, drawn, scale_range=(0.5, 2))
        assert transform.choose_scale(10.0) == pytest.approx(scale)


class TestPipeline:
    def test_in_mmdets_pipeline(self, tmp_path: Path, target: str, source: str) -> None:
        path = write_coco_set(tmp_path, num_images=3, size=(96, 64), empty_last=True)
        options = dict(target_ann_file=target, scale_range=[0.1, 1])
        for scale_match in (
            dict(type="ScaleMatch", **options),
            dict(type="MonotonicScaleMatch", source_ann_file=source, **options),
        ):
            dataset = CocoDataset(
                ann_file=str(path),
                data_prefix=dict(img=f"{tmp_path}/images/"),
                metainfo=dict(classes=CLASSES),
                serialize_data=False,  # it runs the garbage collector
                pipeline=[
                    dict(type="LoadImageFromFile"),
                    dict(type="LoadAnnotations", with_bbox=True),
                    scale_match,
                    dict(type="RandomFlip", prob=0.5),
                    dict(type="PackDetInputs"),
                ],
            )
            for k in range(3):
                data = dataset[k]
                height, width = data["inputs"].shape[1:]
                assert data["data_samples"].img_shape == (height, width)
                found = data["data_samples"].gt_instances
                boxes = found.bboxes.tensor
                assert len(boxes) == len(found.labels)
                assert (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
            assert len(boxes) == 0 and (height, width) == (64, 96)

    def test_masks_and_plain_arrays(self, target: str) -> None:
        from mmdet.structures.mask import BitmapMasks

        results = sample([0, 0, 40, 40], [0, 0, 1, 1])
        results["gt_bboxes"] = results["gt_bboxes"].tensor.numpy()
        results["gt_masks"] = BitmapMasks(np.zeros((2, 200, 300), np.uint8), 200, 300)
        np.random.seed(0)
        found = ScaleMatch(target, scale_range=(0, 1))(results)
        assert isinstance(found["gt_bboxes"], np.ndarray)
        assert len(found["gt_masks"]) == len(found["gt_bboxes"]) == 1
        assert found["gt_masks"].masks.shape[1:] == found["img"].shape[:2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(scale_range=(1, 1)), r"scale_range .*\(1, 1\)"),
        (dict(scale_range=(-1, 1)), "scale_range .*-1"),
        (dict(scale_range=(0, float("inf"))), "scale_range .*inf"),
        (dict(default_scale=0), "default_scale .*0"),
        (dict(bins=1), "bins .*1"),
    ],
)
def test_wrong_arguments(target: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScaleMatch(target, **options)
