"""Whether TinyPerson's files are there, in their places, and the expected ones."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from fpn_necks.coco_files import dense_files, is_ignored, read_coco

DOCUMENTATION = "docs/tiny_person.md"


@dataclass(frozen=True)
class CheckedFile:
    """One line of the report.

    Attributes:
        status: ``"ok"``; or ``"missing"`` or ``"wrong"``, with which training or
            testing must not start.
        path: What it is about.
        message: What was found and what to do.
    """

    status: str
    path: Path
    message: str

    @property
    def is_error(self) -> bool:
        """Whether the data cannot be used as they are."""
        return self.status != "ok"

    def __str__(self) -> str:
        return f"{self.status:8}{self.path}: {self.message}"


@dataclass(frozen=True)
class ExpectedFile:
    """An annotation file of the release: its place, and what it must hold.

    `counts` are of ``images`` and of `count_boxes`; several where the release's pages
    disagree.
    """

    path: str
    use: str
    image_dir: str
    counts: Mapping[str, tuple[int, ...]]


# Paths of configs/_base_/datasets/tiny_person.py, counts of the release's own pages.
# They give 2,832 uncertain boxes of the test set in a table and 2,834 in the text.
EXPECTED_FILES = (
    ExpectedFile(
        "mini_annotations/tiny_set_train_all_erase.json",
        "training",
        "erase_with_uncertain_dataset/train",
        dict(images=(746,), positives=(18433,), ignored=(0,), uncertain=(0,)),
    ),
    ExpectedFile(
        "mini_annotations/tiny_set_test_all.json",
        "testing",
        "test",
        dict(
            images=(786,), positives=(13787,), ignored=(1989,), uncertain=(2832, 2834)
        ),
    ),
)


def check_tiny_person(
    root: str | os.PathLike[str], *, check_images: bool = True, progress: bool = False
) -> list[CheckedFile]:
    """Compares annotations and images for training and testing with the release.

    Args:
        root: The folder of the release, ``data/tiny_set`` in our configs.
        check_images: Whether to look for every image and read its size.
        progress: Whether to show a progress bar.
    """
    root = Path(root)
    if not root.is_dir():
        message = f"no such folder; TinyPerson belongs here, see {DOCUMENTATION}"
        return [CheckedFile("missing", root, message)]
    inner = root / "tiny_set"
    if inner.is_dir() and not (root / "mini_annotations").is_dir():
        return [CheckedFile("wrong", root, f"holds a folder tiny_set: check {inner}")]
    checked = []
    for expected in EXPECTED_FILES:
        path = root / expected.path
        if not path.is_file():
            message = f"annotations for {expected.use} belong here"
            checked.append(CheckedFile("missing", path, message))
            continue
        try:
            coco = read_coco(path)
        except ValueError as error:
            message = str(error).removeprefix(str(path)).strip(": ")
            checked.append(CheckedFile("wrong", path, message))
            continue
        checked.append(_check_counts(path, coco, expected))
        if check_images:
            folder = root / expected.image_dir
            checked.append(_check_images(folder, coco, path, progress))
    return checked


def count_boxes(coco: Mapping[str, Any]) -> Counter[str]:
    """Counts boxes as the release does: ignored, uncertain, dense, else positives."""
    dense = dense_files(coco)
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    counts: Counter[str] = Counter()
    for annotation in coco["annotations"]:
        if is_ignored(annotation, ("ignore",)):
            kind = "ignored"
        elif annotation.get("uncertain"):
            kind = "uncertain"
        else:
            is_dense = files[annotation["image_id"]] in dense
            kind = "dense" if is_dense else "positives"
        counts[kind] += 1
    return counts


def _check_counts(
    path: Path, coco: Mapping[str, Any], expected: ExpectedFile
) -> CheckedFile:
    found = count_boxes(coco) + Counter(images=len(coco["images"]))
    differences = [
        f"{found[name]:,} {name}, expected {' or '.join(f'{n:,}' for n in numbers)}"
        for name, numbers in expected.counts.items()
        if found[name] not in numbers
    ]
    if any("corner" in image for image in coco["images"]):
        differences = ["it holds tiles instead of whole images"]
    if differences:
        message = f"not the file for {expected.use}: {'; '.join(differences)}"
        return CheckedFile("wrong", path, message)
    message = f"{len(coco['images']):,} images, {len(coco['annotations']):,} boxes"
    return CheckedFile("ok", path, f"{expected.use}: {message}")


def _check_images(
    folder: Path, coco: Mapping[str, Any], annotations: Path, progress: bool
) -> CheckedFile:
    if not folder.is_dir():
        message = f"the images of {annotations.name} belong here: unpack their archive"
        return CheckedFile("missing", folder, message)
    missing, wrong = [], []
    label = f"images of {annotations.name}"
    for image in tqdm(coco["images"], label, unit="image", disable=not progress):
        try:
            with Image.open(folder / image["file_name"]) as file:
                if file.size != (image["width"], image["height"]):
                    wrong.append(image["file_name"])
        except FileNotFoundError:
            missing.append(image["file_name"])
        except OSError:
            wrong.append(image["file_name"])
    total = len(coco["images"])
    for status, text, names in (
        ("missing", "are missing", missing),
        ("wrong", "are unreadable or of another size than annotated", wrong),
    ):
        if names:
            message = f"{len(names):,} of {total:,} images {text}, the first is "
            message += f"{names[0]} ({annotations.name})"
            return CheckedFile(status, folder, message)
    return CheckedFile("ok", folder, f"all {total:,} {label}")
