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
_UNREADABLE = "are unreadable or of another size than annotated"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        kind: ``"ok"``; ``"missing"`` or ``"wrong"``, with which training or testing
            must not start; ``"note"``, which does no harm.
        path: What it is about.
        message: What was found and what to do.
    """

    kind: str
    path: Path
    message: str

    @property
    def is_error(self) -> bool:
        """Whether the data cannot be used as they are."""
        return self.kind in ("missing", "wrong")

    def __str__(self) -> str:
        return f"{self.kind:8}{self.path}: {self.message}"


@dataclass(frozen=True)
class ExpectedFile:
    """An annotation file of the release: its place, and what it must hold.

    `counts` are of ``images``, ``boxes`` and `count_boxes`; several where the release's
    pages disagree.
    """

    path: str
    use: str
    image_dir: str
    counts: Mapping[str, int | tuple[int, ...]]
    required: bool = False


# Paths of configs/_base_/datasets/tiny_person.py, counts of the release's own pages.
# They give 2,832 uncertain boxes of the test set in a table and 2,834 in the text.
_TRAIN = dict(images=746, positives=18433)
_TEST = dict(images=786, positives=13787, ignored=1989, uncertain=(2832, 2834))
EXPECTED_FILES = (
    ExpectedFile(
        "mini_annotations/tiny_set_train_all_erase.json",
        "training",
        "erase_with_uncertain_dataset/train",
        dict(_TRAIN, ignored=0, uncertain=0),
        required=True,
    ),
    ExpectedFile(
        "mini_annotations/tiny_set_test_all.json", "testing", "test", _TEST, True
    ),
    ExpectedFile(
        "annotations/tiny_set_train.json",
        "training without erased images",
        "train",
        dict(_TRAIN, ignored=3369, uncertain=3486),
    ),
    ExpectedFile(
        "annotations/tiny_set_train_with_dense.json",
        "training images with the dense ones",
        "train",
        dict(images=794, boxes=42197),
    ),
    ExpectedFile(
        "annotations/tiny_set_test.json", "testing with two classes", "test", _TEST
    ),
    ExpectedFile(
        "annotations/tiny_set_test_with_dense.json",
        "test images with the dense ones",
        "test",
        dict(images=816, boxes=30454),
    ),
)


def check_tiny_person(
    root: str | os.PathLike[str], *, check_images: bool = True, progress: bool = False
) -> list[Finding]:
    """Compares a folder with the TinyPerson release.

    Needed are the annotations of training and testing and their images; other
    annotation files of the release are checked where they are there.

    Args:
        root: The folder of the release, ``data/tiny_set`` in our configs.
        check_images: Whether to look for every image and read its size.
        progress: Whether to show a progress bar.
    """
    root = Path(root)
    if not root.is_dir():
        message = f"no such folder; TinyPerson belongs here, see {DOCUMENTATION}"
        return [Finding("missing", root, message)]
    inner = root / "tiny_set"
    if inner.is_dir() and not (root / "mini_annotations").is_dir():
        return [Finding("wrong", root, f"holds a folder tiny_set: check {inner}")]
    return [
        finding
        for expected in EXPECTED_FILES
        for finding in _check_file(root, expected, check_images, progress)
    ]


def _check_file(
    root: Path, expected: ExpectedFile, check_images: bool, progress: bool
) -> list[Finding]:
    path = root / expected.path
    if not path.is_file():
        if not expected.required:
            return []
        return [Finding("missing", path, f"annotations for {expected.use} belong here")]
    try:
        coco = read_coco(path)
    except ValueError as error:
        return [Finding("wrong", path, str(error).removeprefix(str(path)).strip(": "))]
    differences = _differences(coco, expected)
    if differences:
        message = f"not the file for {expected.use}: {'; '.join(differences)}"
        findings = [Finding("wrong", path, message)]
    else:
        message = f"{len(coco['images']):,} images, {len(coco['annotations']):,} boxes"
        findings = [Finding("ok", path, f"{expected.use}: {message}")]
    if check_images:
        findings.append(_check_images(root / expected.image_dir, coco, path, progress))
    # What no config reads stops nobody.
    return [
        Finding("note", f.path, f"{f.kind}, {f.message}")
        if f.is_error and not expected.required
        else f
        for f in findings
    ]


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


def _differences(coco: Mapping[str, Any], expected: ExpectedFile) -> list[str]:
    if any("corner" in image for image in coco["images"]):
        return ["it holds tiles instead of whole images"]
    found = count_boxes(coco)
    found.update(images=len(coco["images"]), boxes=len(coco["annotations"]))
    differences = []
    for name, wanted in expected.counts.items():
        accepted = wanted if isinstance(wanted, tuple) else (wanted,)
        if found[name] not in accepted:
            numbers = " or ".join(f"{number:,}" for number in accepted)
            differences.append(f"{found[name]:,} {name}, expected {numbers}")
    return differences


def _check_images(
    folder: Path, coco: Mapping[str, Any], annotations: Path, progress: bool
) -> Finding:
    if not folder.is_dir():
        message = f"the images of {annotations.name} belong here"
        for ending in (".tar.gz", ".zip"):
            archive = folder.with_name(folder.name + ending)
            if archive.is_file():
                message += f"; unpack {archive.name}"
        return Finding("missing", folder, message)
    faults: dict[str, list[str]] = {"are missing": [], _UNREADABLE: []}
    label = f"images of {annotations.name}"
    for image in tqdm(coco["images"], label, unit="image", disable=not progress):
        name = image["file_name"]
        try:
            with Image.open(folder / name) as file:
                if file.size != (image["width"], image["height"]):
                    faults[_UNREADABLE].append(name)
        except FileNotFoundError:
            faults["are missing"].append(name)
        except OSError:
            faults[_UNREADABLE].append(name)
    total = len(coco["images"])
    problems = [
        f"{len(names):,} of {total:,} images {text}, the first is {names[0]}"
        for text, names in faults.items()
        if names
    ]
    if problems:
        kind = "missing" if faults["are missing"] else "wrong"
        return Finding(kind, folder, f"{'; '.join(problems)} ({annotations.name})")
    return Finding("ok", folder, f"all {total:,} {label}")
