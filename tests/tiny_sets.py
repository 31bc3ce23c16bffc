"""Small COCO-format sets for tests, written in milliseconds."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CLASSES = ("square", "disc")


def write_coco_set(
    folder: Path,
    num_images: int = 4,
    size: tuple[int, int] = (96, 64),
    images: bool = True,
    empty_last: bool = False,
    ignored_last: bool = False,
    num_upright: int = 0,
    seed: int = 0,
) -> Path:
    """Write bright squares and discs on dark ground; return the annotation file.

    Objects have boxes and masks.

    Args:
        folder: gets ``images/`` and ``annotations.json``.
        num_images: number of images.
        size: (width, height) in pixels.
        images: write the images, not the annotations alone.
        empty_last: the last image has no object.
        ignored_last: the last image has one object, marked ``ignore``: mmdet's
            ``CocoDataset`` drops it, ``TinyPersonDataset`` ignores it.
        num_upright: so many of the first images have width and height exchanged.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for image_id in range(1, num_images + 1):
        width, height = size[::-1] if image_id <= num_upright else size
        picture = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
        name = f"{image_id:04d}.png"
        records.append(dict(id=image_id, file_name=name, width=width, height=height))
        is_last = image_id == num_images
        ignored = ignored_last and is_last
        for _ in range(1 if ignored else 0 if empty_last and is_last else 4):
            side = int(random.integers(6, min(size) // 2))
            x = int(random.integers(0, width - side))
            y = int(random.integers(0, height - side))
            category = int(random.integers(1, 3))
            outline = [x, y, x + side, y, x + side, y + side, x, y + side]
            if category == 1:
                cv2.rectangle(
                    picture, (x, y), (x + side - 1, y + side - 1), (255,) * 3, -1
                )
            else:
                centre = (x + side // 2, y + side // 2)
                radius = side // 2 - 1
                cv2.circle(picture, centre, radius, (200, 255, 120), -1)
                outline = cv2.ellipse2Poly(centre, (radius,) * 2, 0, 0, 360, 30)
                outline = outline.ravel().tolist()
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=category,
                    bbox=[x, y, side, side],
                    area=side * side,
                    iscrowd=0,
                    ignore=ignored,
                    segmentation=[outline],
                )
            )
        if images:
            cv2.imwrite(str(folder / "images" / name), picture)
    path = folder / "annotations.json"
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    path.write_text(
        json.dumps(dict(images=records, annotations=annotations, categories=categories))
    )
    return path


def use_coco_set(folder: Path, num_workers: int = 0) -> dict[str, Any]:
    """Return the config overrides that make a detector read such a set."""
    overrides: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        loader = f"{split}_dataloader"
        overrides |= {
            f"{loader}.num_workers": num_workers,
            f"{loader}.persistent_workers": num_workers > 0,
            f"{loader}.dataset.data_root": f"{folder}/",
            f"{loader}.dataset.ann_file": "annotations.json",
            f"{loader}.dataset.data_prefix.img": "images/",
            f"{loader}.dataset.metainfo.classes": CLASSES,
        }
        if split != "train":
            overrides[f"{split}_evaluator.ann_file"] = f"{folder}/annotations.json"
    return overrides
