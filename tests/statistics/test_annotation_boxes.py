"""Boxes read from annotations alone equal those of the real pipeline on real images."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset

from fpn_necks.statistics import build_dataset, read_boxes
from tests.tiny_sets import CLASSES, write_coco_set

register_all_modules()

RESIZES = {
    "none": [],
    "keep-ratio": [dict(type="Resize", scale=(200, 150), keep_ratio=True)],
    "stretch": [dict(type="Resize", scale=(133, 117), keep_ratio=False)],
    "factor": [dict(type="Resize", scale_factor=1.7, keep_ratio=True)],
    "shortest-edge": [dict(type="ResizeShortestEdge", scale=100, max_size=130)],
    "choice": [dict(type="RandomChoiceResize", scales=[(150, 99)], keep_ratio=True)],
    "random": [
        dict(type="RandomResize", scale=(150, 99), ratio_range=(1, 1), keep_ratio=True)
    ],
    "two-steps": [
        dict(type="Resize", scale=(50, 50), keep_ratio=True),
        dict(type="Resize", scale=(170, 90), keep_ratio=False),
    ],
    "filter": [
        dict(type="Resize", scale=(48, 32), keep_ratio=True),
        dict(type="FilterAnnotations", min_gt_bbox_wh=(8, 8)),
    ],
}


def coco_dataset(folder: Path, transforms: list[dict], **options) -> CocoDataset:
    return DATASETS.build(
        dict(
            type="CocoDataset",
            data_root=str(folder),
            ann_file="annotations.json",
            data_prefix=dict(img="images/"),
            metainfo=dict(classes=CLASSES),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True),
                *transforms,
                dict(type="RandomFlip", prob=0.0),
                dict(type="PackDetInputs"),
            ],
            **options,
        )
    )


@pytest.mark.parametrize("name", RESIZES)
def test_equals_the_real_pipeline(name: str, tmp_path: Path) -> None:
    write_coco_set(tmp_path, num_images=5, size=(97, 65))
    dataset = coco_dataset(tmp_path, RESIZES[name])
    found = read_boxes(dataset, size_divisor=32)
    assert len(found.boxes) == len(dataset)
    for i in range(len(dataset)):
        sample = dataset[i]
        truths = sample["data_samples"].gt_instances.bboxes.tensor
        torch.testing.assert_close(found.boxes[i], truths, atol=1e-4, rtol=1e-6)
        padded = tuple(-(-side // 32) * 32 for side in sample["inputs"].shape[1:])
        assert found.shapes[i] == padded


def test_no_image_is_needed(tmp_path: Path) -> None:
    write_coco_set(tmp_path, images=False)
    dataset = coco_dataset(tmp_path, RESIZES["keep-ratio"])
    assert read_boxes(dataset).num_boxes == 16
    with pytest.raises(FileNotFoundError):
        dataset[0]


def test_tiny_person_in_tiles(tmp_path: Path) -> None:
    """Boxes and sizes are those of the tiles; whoever is ignored is not counted."""
    people = {
        1: dict(bbox=[10, 10, 20, 20]),  # in the first tile
        2: dict(bbox=[82, 10, 10, 10]),  # in the overlap: in both
        3: dict(bbox=[140, 30, 40, 10]),  # in the second
        4: dict(bbox=[10, 30, 8, 8], ignore=True),
        5: dict(bbox=[40, 30, 8, 8], uncertain=True),
        6: dict(bbox=[60, 30, 8, 8], logo=True),
        7: dict(bbox=[150, 30, 8, 8], iscrowd=1),
        8: dict(bbox=[150, 10, 0.5, 8]),  # less than a pixel
        9: dict(bbox=[30, 10, 8, 8], image_id=2, in_dense_image=True),
    }
    coco = dict(
        images=[dict(id=k, file_name=f"{k}.png", width=180, height=50) for k in (1, 2)],
        annotations=[
            dict(id=k, image_id=1, category_id=1) | p for k, p in people.items()
        ],
        categories=[dict(id=1, name="person")],
    )
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    dataset = DATASETS.build(
        dict(
            type="TinyPersonDataset",
            ann_file=str(tmp_path / "annotations.json"),
            data_prefix=dict(img=""),
            tiles=dict(size=(100, 64), overlap=(20, 0)),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True),
                dict(type="Resize", scale_factor=2.0),
                dict(type="PackDetInputs"),
            ],
        )
    )
    found = read_boxes(dataset, size_divisor=32)
    assert found.shapes == [(128, 224)] * 2  # 100x50, doubled and padded
    first, second = (boxes.tolist() for boxes in found.boxes)
    assert first == [[20, 20, 60, 60], [164, 20, 184, 40]]
    assert second == [[4, 20, 24, 40], [120, 60, 200, 80]]
    assert found.notes == []


def test_random_sizes_are_reproducible_and_leave_numpy_alone(tmp_path: Path) -> None:
    write_coco_set(tmp_path, images=False)
    scales = [(50, 50), (100, 100), (150, 150), (200, 200)]
    transform = dict(type="RandomChoiceResize", scales=scales, keep_ratio=True)
    crop = dict(type="RandomCrop", crop_size=(32, 32))
    dataset = coco_dataset(tmp_path, [crop, transform])
    np.random.seed(7)
    first = read_boxes(dataset)
    after = np.random.random()
    np.random.seed(7)
    assert np.random.random() == after
    assert [b.tolist() for b in read_boxes(dataset).boxes] == [
        b.tolist() for b in first.boxes
    ]
    assert first.notes == [
        "transform RandomCrop is not applied: the counts are without it",
        "RandomChoiceResize: one size per image was drawn with a fixed seed",
    ]


def test_wrappers_are_looked_through(tmp_path: Path) -> None:
    write_coco_set(tmp_path / "a")
    write_coco_set(tmp_path / "b", num_images=3)
    parts = [coco_dataset(tmp_path / name, []) for name in "ab"]
    both = ConcatDataset(parts)
    assert read_boxes(both).num_boxes == 28
    assert read_boxes(RepeatDataset(parts[0], 3)).num_boxes == 16


def config_for(annotation_file: Path) -> Config:
    dataset = dict(
        type="CocoDataset",
        data_root=str(annotation_file.parent),
        ann_file=annotation_file.name,
        data_prefix=dict(img="images/"),
        pipeline=[],
    )
    return Config(dict(train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        "{}",
        '{"images": []}',
        '{"images": [{"id": 1}], "annotations": [], "categories": []}',
        '{"images": 3, "annotations": 4}',
    ],
)
def test_files_that_are_not_coco(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="'bad.json'.*cannot be read|bad.json.*no box"):
        read_boxes(build_dataset(config_for(path)))
