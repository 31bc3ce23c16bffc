"""A seeded synthetic set of tiny people on beaches, with TinyPerson's fields.

For demonstrations, tests and experiments without downloads. Of mmdet nothing is used:
the files are plain COCO json and images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from fpn_necks.io import write_bytes

from .image_files import ImageJob, run_jobs
from .scene import EARTH_PERSON, SEA_PERSON, Person
from .scene_settings import SceneSettings
from .summaries import SplitSummary, SyntheticTinyPerson, summarize_split

MERGED_PERSON = "person"

SPLITS = ("train", "val")


def _check_writing_arguments(
    num_train: int, num_val: int, seed: int, workers: int, image_format: str
) -> None:
    counts = {
        "num_train": num_train,
        "num_val": num_val,
        "seed": seed,
        "workers": workers,
    }
    for name, value in counts.items():
        least = 1 if name.startswith("num") else 0
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if image_format not in ("jpg", "png"):
        raise ValueError(f"image_format must be 'jpg' or 'png', got {image_format!r}")


def _categories(merge_classes: bool) -> list[dict]:
    names = [MERGED_PERSON] if merge_classes else [SEA_PERSON, EARTH_PERSON]
    return [
        {"id": number, "name": name, "supercategory": "person"}
        for number, name in enumerate(names, start=1)
    ]


def _annotation(
    person: Person,
    identifier: int,
    image_id: int,
    category_id: int,
    dense: bool,
    ignored_as_crowd: bool,
) -> dict:
    x, y, width, height = person.bbox
    right, bottom = x + width, y + height
    crowd = person.ignore and ignored_as_crowd
    return {
        "id": identifier,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": int(crowd),
        "ignore": person.ignore and not crowd,
        "uncertain": person.uncertain,
        "logo": person.logo,
        "in_dense_image": dense,
        "segmentation": [[x, y, right, y, right, bottom, x, bottom]],
    }


def _write_split(
    root: Path,
    split: str,
    jobs: Sequence[ImageJob],
    *,
    merge_classes: bool,
    ignored_as_crowd: bool,
    workers: int,
    progress: bool,
) -> SplitSummary:
    """Writes a split's images and then its json."""
    categories = _categories(merge_classes)
    category_ids = {category["name"]: category["id"] for category in categories}
    settings = jobs[0].settings
    width, height = settings.image_size
    images: list[dict] = []
    annotations: list[dict] = []
    everybody: list[Person] = []
    results = tqdm(
        run_jobs(jobs, workers),
        desc=f"drawing {split}",
        total=len(jobs),
        unit="image",
        disable=not progress,
    )
    for number, (people, dense) in enumerate(results):
        image_id = number + 1
        images.append(
            {
                "id": image_id,
                "file_name": jobs[number].path.name,
                "width": width,
                "height": height,
                "in_dense_image": dense,
            }
        )
        for person in people:
            everybody.append(person)
            name = MERGED_PERSON if merge_classes else person.category
            annotations.append(
                _annotation(
                    person,
                    # From 1: evaluations take a match with box 0 for no match.
                    len(everybody),
                    image_id,
                    category_ids[name],
                    dense,
                    ignored_as_crowd,
                )
            )
    coco = {
        "info": {
            "description": "synthetic tiny people on beaches",
            "split": split,
            "seed": jobs[0].seed[0],
            "settings": asdict(settings)
            | {"size_range": [float(size) for size in settings.size_range]},
        },
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    annotation_file = root / "annotations" / f"{split}.json"
    write_bytes(annotation_file, json.dumps(coco).encode())
    return summarize_split(annotation_file, root / split, coco, everybody)


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


def generate(
    out_dir: str | os.PathLike[str],
    num_train: int = 200,
    num_val: int = 50,
    image_size: tuple[int, int] = (640, 512),
    size_range: tuple[float, float] = (2.0, 32.0),
    people_per_image: tuple[int, int] = (5, 25),
    dense_fraction: float = 0.05,
    ignore_fraction: float = 0.05,
    uncertain_fraction: float = 0.08,
    logo_fraction: float = 0.01,
    distractors_per_image: tuple[int, int] = (4, 14),
    seed: int = 0,
    *,
    merge_classes: bool = False,
    ignored_as_crowd: bool = False,
    image_format: str = "jpg",
    jpeg_quality: int = 95,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> SyntheticTinyPerson:
    """Writes a synthetic tiny-person set as COCO json and images.

    The layout is ``out_dir/{train,val}/*.jpg`` and
    ``out_dir/annotations/{train,val}.json``. The same arguments give the same bytes,
    however many workers draw; train and validation never share a scene.

    Args:
        out_dir: Target folder; made if missing.
        num_train: Number of training images, at least 1.
        num_val: Number of validation images, at least 1.
        image_size: See `SceneSettings`, as the following ones.
        size_range: Smallest and largest person in pixels.
        people_per_image: Fewest and most people of an image that is not dense.
        dense_fraction: Share of dense images.
        ignore_fraction: Share of boxes that are ignore regions.
        uncertain_fraction: Share of boxes that are uncertain people.
        logo_fraction: Share of boxes that are printed people.
        distractors_per_image: Fewest and most things that are no people.
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

    Returns:
        The paths and the counts of each split.

    Raises:
        ValueError: An argument is out of range; the message names it.
        FileExistsError: `out_dir` holds files and `overwrite` is false.
    """
    settings = SceneSettings(
        image_size=image_size,
        size_range=size_range,
        people_per_image=people_per_image,
        dense_fraction=dense_fraction,
        ignore_fraction=ignore_fraction,
        uncertain_fraction=uncertain_fraction,
        logo_fraction=logo_fraction,
        distractors_per_image=distractors_per_image,
    )
    _check_writing_arguments(num_train, num_val, seed, workers, image_format)
    if not 1 <= jpeg_quality <= 100:
        raise ValueError(f"jpeg_quality must lie in [1, 100], got {jpeg_quality}")
    root = Path(out_dir)
    _prepare_root(root, overwrite)
    summaries = {}
    for split_index, (split, count) in enumerate(
        zip(SPLITS, (num_train, num_val), strict=True)
    ):
        jobs = [
            ImageJob(
                settings,
                (seed, split_index, number),
                root / split / f"{split}_{number + 1:05d}.{image_format}",
                jpeg_quality,
            )
            for number in range(count)
        ]
        summaries[split] = _write_split(
            root,
            split,
            jobs,
            merge_classes=merge_classes,
            ignored_as_crowd=ignored_as_crowd,
            workers=workers,
            progress=progress,
        )
    return SyntheticTinyPerson(root, summaries["train"], summaries["val"])
