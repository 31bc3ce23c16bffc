"""The published counts of TinyPerson, and those of CityPersons."""

import collections
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import TASK_UTILS

from fpn_necks.datasets.tiny_person.city_persons import read_city_persons, scale_coco
from fpn_necks.statistics import (
    build_dataset,
    count_best_levels,
    estimate_from_config,
    fusion_factors,
    read_boxes,
)
from tests.shared_data import shared
from tests.tiny_detectors import load_config

RELEASED = {
    ("retinanet", (1920, 1080)): (0.37, 0.35, 0.76),
    ("faster-rcnn", (1920, 1080)): (0.55, 0.62, 1.16),
    ("retinanet", (1280, 720)): (0.15, 0.32, 0.71),
    ("faster-rcnn", (1280, 720)): (0.20, 0.59, 1.02),
}


def videos_of_tiny_person(size: tuple[int, int], path: Path) -> int:
    """Write the videos' images without dense ones, which were squeezed, in a size."""
    root = shared("data/tiny_person_640/annotations")
    scale = np.tile(np.array(size) / 640, 2)
    images, people = [], []
    for split in ("train", "val"):
        coco = json.loads((root / f"{split}.json").read_text())
        numbers = collections.Counter(a["image_id"] for a in coco["annotations"])
        kept = {}
        for image in coco["images"]:
            is_video = image["file_name"].startswith("bb_V")
            if is_video and 0 < numbers[image["id"]] <= 200:
                kept[image["id"]] = len(images)
                sides = dict(width=size[0], height=size[1])
                images.append(image | sides | dict(id=len(images)))
        for person in coco["annotations"]:
            if person["image_id"] in kept:
                box = (np.array(person["bbox"]) * scale).tolist()
                ids = dict(id=len(people) + 1, image_id=kept[person["image_id"]])
                people.append(person | ids | dict(bbox=box, area=box[2] * box[3]))
    file = dict(images=images, annotations=people, categories=coco["categories"])
    path.write_text(json.dumps(file))
    return len(images)


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720)], ids=str)
def test_released_count_of_tiny_person(size: tuple[int, int], tmp_path: Path) -> None:
    """The numbers of ../shared/data/README.md, in tiles of 640x512 pixels."""
    path = tmp_path / "people.json"
    assert videos_of_tiny_person(size, path) == 463
    configs = {
        name: load_config(f"{name}_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson")
        for name in ("retinanet", "faster-rcnn")
    }
    dataset = configs["retinanet"].train_dataloader.dataset
    dataset.data_root, dataset.ann_file = f"{tmp_path}/", path.name
    tiles = read_boxes(build_dataset(configs["retinanet"]))
    for name, config in configs.items():
        head = config.model.get("rpn_head") or config.model.bbox_head
        anchors = TASK_UTILS.build(head.anchor_generator)
        counts = count_best_levels(tiles.boxes, tiles.shapes, anchors, distinct=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            factors = fusion_factors(counts.tolist(), 3)
        assert factors == pytest.approx(RELEASED[name, size], abs=0.02)


@pytest.mark.parametrize(
    ("split", "sizes", "factors"),
    [
        ("train", (2975, 27770, 16526), [0.446, 0.401, 0.250]),
        ("val", (500, 5795, 3157), [0.504, 0.397, 0.215]),
    ],
)
def test_released_count_of_tiny_city_persons(
    split: str, sizes: tuple[int, int, int], factors: list[float], tmp_path: Path
) -> None:
    """The counts of ../shared/data/README.md; no factors were published, ours are."""
    pytest.importorskip("scipy.io")
    coco = read_city_persons(shared(f"data/city_persons/anno_{split}.mat"))
    people = [a for a in coco["annotations"] if not a["ignore"]]
    assert (len(coco["images"]), len(coco["annotations"]), len(people)) == sizes
    (tmp_path / "quarter.json").write_text(json.dumps(scale_coco(coco, 4)))
    config = load_config("retinanet_r50_s-alpha-fpn_1xb2-1x_tinycitypersons")
    dataset = config.train_dataloader.dataset
    dataset.data_root, dataset.ann_file = f"{tmp_path}/", "quarter.json"
    report = estimate_from_config(config, "released")
    assert report.factors == pytest.approx(factors, abs=0.002)
