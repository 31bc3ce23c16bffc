"""A seeded synthetic set of tiny people on beaches, with TinyPerson's fields.

For demonstrations, tests and experiments without downloads. Of mmdet nothing is used:
the files are plain COCO json and images.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from fpn_necks.io import write_bytes, write_image

from .scene import EARTH_PERSON, SEA_PERSON, Person, SceneSettings, draw_scene

MERGED_PERSON = "person"

SPLITS = ("train", "val")


@dataclass(frozen=True)
class SplitSummary:
    """Where a split lies and what it holds.

    Args:
        annotation_file: COCO json of the split.
        image_dir: Folder of the split's images.
        images: Number of images.
        dense_images: Number of dense images among them.
        boxes: Number of all boxes.
        ignored: Number of ignore regions among them.
        uncertain: Number of uncertain boxes among them.
        logos: Number of printed people among them.
        boxes_per_category: Number of boxes of each category name.
        size_quantiles: Least, 25 %, 50 %, 75 % and largest size, in pixels, of the
            boxes that are no ignore region; empty without boxes.
    """

    annotation_file: Path
    image_dir: Path
    images: int
    dense_images: int
    boxes: int
    ignored: int
    uncertain: int
    logos: int
    boxes_per_category: dict[str, int] = field(default_factory=dict)
    size_quantiles: tuple[float, ...] = ()

    def __str__(self) -> str:
        sizes = "no boxes"
        if self.size_quantiles:
            least, _, median, _, largest = self.size_quantiles
            sizes = f"{least:.1f} to {largest:.1f} px, median {median:.1f} px"
        return (
            f"{self.images} images ({self.dense_images} dense), {self.boxes} boxes "
            f"({self.ignored} ignore regions, {self.uncertain} uncertain, "
            f"{self.logos} logos), {sizes}"
        )


@dataclass(frozen=True)
class SyntheticTinyPerson:
    """The written set: its folder and the summary of each split."""

    root: Path
    train: SplitSummary
    val: SplitSummary


@dataclass(frozen=True)
class _Image:
    """Everything that a worker needs to draw and write one image."""

    settings: SceneSettings
    seed: tuple[int, int, int]  # the set's seed, the split's and the image's index
    path: Path
    jpeg_quality: int

    def draw(self) -> tuple[tuple[Person, ...], bool]:
        """Writes the image; returns its people and whether it is dense."""
        scene = draw_scene(self.settings, self.seed)
        write_image(self.path, scene.image, self.jpeg_quality)
        return scene.people, scene.dense


def generate(
    out_dir: str | os.PathLike[str],
    num_train: int = 200,
    num_val: int = 50,
    *,
    seed: int = 0,
    merge_classes: bool = False,
    ignored_as_crowd: bool = False,
    image_format: str = "jpg",
    jpeg_quality: int = 95,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
    **scene: Any,
) -> SyntheticTinyPerson:
    """Writes a synthetic tiny-person set as COCO json and images.

    The layout is ``out_dir/{train,val}/*.jpg`` and
    ``out_dir/annotations/{train,val}.json``. The same arguments give the same bytes,
    however many workers draw; train and validation never share a scene.

    Args:
        out_dir: Target folder; made if missing.
        num_train: Number of training images, at least 1.
        num_val: Number of validation images, at least 1.
        seed: Seed of the whole set, at least 0.
        merge_classes: Whether to write the one class ``person`` (id 1) in place of
            ``sea_person`` (1) and ``earth_person`` (2).
        ignored_as_crowd: Whether ignore regions are written as ``iscrowd=1`` without
            ``ignore``. mmdet's CocoDataset drops ``ignore`` boxes, which makes them
            background, and COCO's evaluation counts them as people; both honour
            ``iscrowd``.
        image_format: ``"jpg"`` or ``"png"``; only png keeps the pixels exactly.
        jpeg_quality: 1 to 100, for jpg.
        workers: Number of drawing processes; 0 draws in this one.
        overwrite: Whether a target that holds files may be written into. Files of
            the same names are replaced, all others stay.
        progress: Whether to show a progress bar.
        **scene: Those of `SceneSettings`.

    Returns:
        The paths and the counts of each split.

    Raises:
        ValueError: An argument is out of range; the message names it.
        FileExistsError: `out_dir` holds files and `overwrite` is false.
    """
    settings = SceneSettings(**scene)
    for name, value, least in (
        ("num_train", num_train, 1),
        ("num_val", num_val, 1),
        ("seed", seed, 0),
        ("workers", workers, 0),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if image_format not in ("jpg", "png"):
        raise ValueError(f"image_format must be 'jpg' or 'png', got {image_format!r}")
    if not 1 <= jpeg_quality <= 100:
        raise ValueError(f"jpeg_quality must lie in [1, 100], got {jpeg_quality}")
    root = Path(out_dir)
    _prepare_root(root, overwrite)
    summaries = []
    for index, (split, count) in enumerate(
        zip(SPLITS, (num_train, num_val), strict=True)
    ):
        names = (f"{split}_{k + 1:05d}.{image_format}" for k in range(count))
        images = [
            _Image(settings, (seed, index, k), root / split / name, jpeg_quality)
            for k, name in enumerate(names)
        ]
        drawn = tqdm(
            _draw(images, workers),
            desc=f"drawing {split}",
            total=count,
            unit="image",
            disable=not progress,
        )
        summaries.append(
            _write_split(root, split, images, drawn, merge_classes, ignored_as_crowd)
        )
    return SyntheticTinyPerson(root, *summaries)


def _prepare_root(root: Path, overwrite: bool) -> None:
    """Makes the folders; refuses a target that holds anything unless told not to."""
    if root.exists() and not root.is_dir():
        raise ValueError(f"out_dir must be a folder, got the file {root}")
    if root.is_dir() and any(root.iterdir()) and not overwrite:
        raise FileExistsError(
            f"out_dir must be new or empty unless overwrite=True, got {root}, "
            "which holds files"
        )
    for name in (*SPLITS, "annotations"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        # An interrupted run must not leave old boxes beside new images.
        (root / "annotations" / f"{split}.json").unlink(missing_ok=True)


def _single_thread() -> None:
    # OpenCV's thread pool does not survive a fork.
    cv2.setNumThreads(0)


def _draw(
    images: Sequence[_Image], workers: int
) -> Iterator[tuple[tuple[Person, ...], bool]]:
    """Draws in this process or in `workers` others; results in order."""
    if workers == 0:
        yield from map(_Image.draw, images)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    with context.Pool(workers, initializer=_single_thread) as pool:
        yield from pool.imap(_Image.draw, images, chunksize=4)


def _write_split(
    root: Path,
    split: str,
    images: Sequence[_Image],
    drawn: Iterator[tuple[tuple[Person, ...], bool]],
    merge_classes: bool,
    ignored_as_crowd: bool,
) -> SplitSummary:
    """Draws a split's images and writes its json."""
    names = [MERGED_PERSON] if merge_classes else [SEA_PERSON, EARTH_PERSON]
    settings = images[0].settings
    width, height = settings.image_size
    entries: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    people: list[Person] = []
    for number, (image, (own, dense)) in enumerate(zip(images, drawn, strict=True), 1):
        entries.append(
            {
                "id": number,
                "file_name": image.path.name,
                "width": width,
                "height": height,
                "in_dense_image": dense,
            }
        )
        for person in own:
            people.append(person)
            x, y, w, h = person.bbox
            crowd = person.ignore and ignored_as_crowd
            name = MERGED_PERSON if merge_classes else person.category
            boxes.append(
                {
                    # From 1: evaluations take a match with box 0 for no match.
                    "id": len(people),
                    "image_id": number,
                    "category_id": names.index(name) + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(crowd),
                    "ignore": person.ignore and not crowd,
                    "uncertain": person.uncertain,
                    "logo": person.logo,
                    "in_dense_image": dense,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
    coco = {
        "info": {
            "description": "synthetic tiny people on beaches",
            "split": split,
            "seed": images[0].seed[0],
            "settings": asdict(settings)
            | {"size_range": [float(size) for size in settings.size_range]},
        },
        "images": entries,
        "annotations": boxes,
        "categories": [
            {"id": k, "name": name, "supercategory": "person"}
            for k, name in enumerate(names, 1)
        ],
    }
    annotation_file = root / "annotations" / f"{split}.json"
    write_bytes(annotation_file, json.dumps(coco).encode())
    sizes = [person.size for person in people if not person.ignore]
    quantiles = np.quantile(sizes, (0, 0.25, 0.5, 0.75, 1)).tolist() if sizes else ()
    per_category = Counter(names[box["category_id"] - 1] for box in boxes)
    return SplitSummary(
        annotation_file,
        root / split,
        images=len(entries),
        dense_images=sum(entry["in_dense_image"] for entry in entries),
        boxes=len(people),
        ignored=sum(person.ignore for person in people),
        uncertain=sum(person.uncertain for person in people),
        logos=sum(person.logo for person in people),
        boxes_per_category={name: per_category[name] for name in names},
        size_quantiles=tuple(quantiles),
    )
