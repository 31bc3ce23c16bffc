"""A seeded synthetic set of tiny people on beaches, with TinyPerson's fields.

For demonstrations, tests and experiments without downloads: COCO json and images.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from fpn_necks.coco_files import MERGED_CLASS, is_ignored
from fpn_necks.io import require_empty, write_image, write_json
from fpn_necks.layers.arguments import check_choice, check_int

from ..tiny_person.masks import box_polygon
from .scene import CATEGORIES, Person, SceneSettings, draw_scene

SPLITS = ("train", "val")


@dataclass(frozen=True)
class SplitSummary:
    """Where a split lies and what it holds."""

    annotation_file: Path
    image_dir: Path
    images: int
    dense_images: int
    boxes: int
    ignored: int

    def __str__(self) -> str:
        return (
            f"{self.images} images ({self.dense_images} dense), {self.boxes} boxes "
            f"({self.ignored} ignored)"
        )


@dataclass(frozen=True)
class SyntheticTinyPerson:
    """The written set: its folder and the summary of each split."""

    root: Path
    train: SplitSummary
    val: SplitSummary


def generate(
    out_dir: str | os.PathLike[str],
    num_train: int = 200,
    num_val: int = 50,
    *,
    seed: int = 0,
    merge_classes: bool = False,
    image_format: str = "jpg",
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
        image_format: ``"jpg"`` or ``"png"``; only png keeps the pixels exactly.
        workers: Number of drawing processes; 0 draws in this one.
        overwrite: Whether a target that holds files may be written into. Files of
            the same names are replaced, all others stay.
        progress: Whether to show a progress bar.
        **scene: Those of `SceneSettings`.

    Raises:
        ValueError: An argument is out of range; the message names it.
        FileExistsError: `out_dir` holds files and `overwrite` is false.
    """
    settings = SceneSettings(**scene)
    check_int("num_train", num_train)
    check_int("num_val", num_val)
    check_int("seed", seed, minimum=0)
    check_int("workers", workers, minimum=0)
    check_choice("image_format", image_format, ("jpg", "png"))
    root = Path(out_dir)
    if not overwrite:
        require_empty(root, "overwrite=True to write there all the same")
    files = [root / "annotations" / f"{split}.json" for split in SPLITS]
    for file in files:
        # An interrupted run must not leave old boxes beside new images.
        file.unlink(missing_ok=True)
    names = (MERGED_CLASS,) if merge_classes else CATEGORIES
    splits = []
    for number, count in enumerate((num_train, num_val)):
        split, file = SPLITS[number], files[number]
        paths = [root / split / f"{split}_{k:05d}.{image_format}" for k in range(count)]
        jobs = [(settings, (seed, number, k), path) for k, path in enumerate(paths)]
        options = dict(total=count, unit="image", disable=not progress)
        scenes = tqdm(_draw_all(jobs, workers), f"drawing {split}", **options)
        coco = _to_coco(scenes, names)
        coco["info"] = dict(seed=seed, settings=asdict(settings))
        write_json(file, coco)
        dense = sum(image["in_dense_image"] for image in coco["images"])
        ignored = sum(map(is_ignored, coco["annotations"]))
        counts = count, dense, len(coco["annotations"]), ignored
        splits.append(SplitSummary(file, root / split, *counts))
    return SyntheticTinyPerson(root, *splits)


_Job = tuple[SceneSettings, tuple[int, int, int], Path]  # with the image's seed
_Drawn = tuple[dict[str, Any], tuple[Person, ...]]  # the entry of an image, its people


def _draw(job: _Job) -> _Drawn:
    settings, seed, path = job
    scene = draw_scene(settings, seed)
    write_image(path, scene.image)
    width, height = settings.image_size
    entry = dict(file_name=path.name, width=width, height=height)
    return entry | dict(in_dense_image=scene.dense), scene.people


def _draw_all(jobs: Sequence[_Job], workers: int) -> Iterator[_Drawn]:
    """Draws in this process or in `workers` others; the order is that of the jobs."""
    if workers == 0:
        yield from map(_draw, jobs)
        return
    # OpenCV's thread pool does not survive a fork.
    with multiprocessing.Pool(workers, cv2.setNumThreads, (0,)) as pool:
        yield from pool.imap(_draw, jobs, chunksize=4)


def _to_coco(scenes: Iterable[_Drawn], names: Sequence[str]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for entry, people in scenes:
        images.append(dict(id=len(images) + 1, **entry))
        for person in people:
            # A single name is that of the merged class.
            label = names.index(person.category) if len(names) > 1 else 0
            boxes.append(
                dict(
                    # From 1: evaluations take a match with box 0 for no match.
                    id=len(boxes) + 1,
                    image_id=len(images),
                    category_id=label + 1,
                    bbox=person.bbox,
                    area=person.bbox[2] * person.bbox[3],
                    iscrowd=0,
                    ignore=person.ignore,
                    uncertain=person.uncertain,
                    logo=person.logo,
                    in_dense_image=entry["in_dense_image"],
                    segmentation=box_polygon(person.bbox),
                )
            )
    categories = [
        dict(id=k, name=name, supercategory="person") for k, name in enumerate(names, 1)
    ]
    return dict(images=images, annotations=boxes, categories=categories)
