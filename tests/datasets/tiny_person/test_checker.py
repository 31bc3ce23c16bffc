"""The checker of the release: every way in which a file can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from fpn_necks.datasets import check_tiny_person
from fpn_necks.datasets.tiny_person.checker import EXPECTED_FILES, count_boxes
from fpn_necks.shipped_configs import configs_folder

from .release import make_release

TRAINING, TESTING = EXPECTED_FILES


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("release") / "tiny_set")


@pytest.fixture
def change(release: Path):
    """Change an annotation file of the release for one test."""
    changed: dict[Path, str] = {}

    def apply(name: str, edit: Callable[[dict], object]) -> Path:
        path = release / name
        changed[path] = path.read_text()
        coco = json.loads(changed[path])
        edit(coco)
        path.write_text(json.dumps(coco))
        return path

    yield apply
    for path, text in changed.items():
        path.write_text(text)


def errors(root: Path, **options) -> list[str]:
    checked = check_tiny_person(root, **options)
    assert all("\n" not in str(checked) for checked in checked), "one line each"
    return [str(checked) for checked in checked if checked.is_error]


def test_complete(release: Path) -> None:
    checked = check_tiny_person(release)
    assert [f.status for f in checked] == ["ok"] * (2 * len(EXPECTED_FILES))
    assert "training: 746 images, 18,433 boxes" in str(checked[0])
    assert "all 746 images" in str(checked[1])


def test_paths_are_those_of_the_config() -> None:
    path = configs_folder() / "_base_/datasets/tiny_person.py"
    config = Config.fromfile(path)
    places = {(e.path, e.image_dir) for e in EXPECTED_FILES}
    for loader in (config.train_dataloader, config.val_dataloader):
        dataset = loader.dataset
        assert (dataset.ann_file, dataset.data_prefix.img.rstrip("/")) in places
        assert dataset.data_root == "data/tiny_set/"


def test_folders_without_the_files(release: Path, tmp_path: Path) -> None:
    found = errors(tmp_path)
    assert len(found) == 2, "only what is needed is missed"
    for line, expected in zip(found, (TRAINING, TESTING), strict=True):
        assert line.startswith("missing ") and expected.path in line
        assert "belong here" in line
    (line,) = errors(tmp_path / "none")
    assert "no such folder" in line and "docs/tiny_person.md" in line
    (line,) = errors(release.parent)  # one folder too high
    assert f"check {release}" in line


def add_uncertain(coco: dict, count: int) -> None:
    coco["annotations"] += [
        dict(coco["annotations"][0], id=10**6 + k, uncertain=True) for k in range(count)
    ]


@pytest.mark.parametrize(
    ("expected", "edit", "message"),
    [
        (TRAINING, lambda c: c["images"].pop(), "745 images, expected 746"),
        (
            TESTING,
            lambda c: [a.pop("ignore", 0) for a in c["annotations"]],
            "15,776 positives, expected 13,787; 0 ignored, expected 1,989",
        ),
        (
            TESTING,
            lambda c: add_uncertain(c, 1),
            "2,833 uncertain, expected 2,832 or 2,834",
        ),
        (
            TESTING,
            lambda c: c["images"][0].update(corner=[0, 0, 8, 6]),
            "it holds tiles instead of whole images",
        ),
        (TESTING, lambda c: c.pop("images"), "is no COCO detection file"),
    ],
)
def test_wrong_files(release: Path, change, expected, edit, message: str) -> None:
    path = change(expected.path, edit)
    (line,) = errors(release, check_images=False)
    assert line.startswith(f"wrong   {path}: ") and message in line


@pytest.fixture
def moved(release: Path):
    """Move files or folders of the release away for one test."""
    away: dict[Path, Path] = {}

    def move(*names: str) -> None:
        for path in (release / TESTING.image_dir / name for name in names):
            away[path] = path.rename(release / f"{path.name}.away")

    yield move
    for path, kept in away.items():
        kept.rename(path)


def test_images(release: Path, moved) -> None:
    moved("labeled_images/3.png", "labeled_images/7.png")
    (line,) = errors(release)
    assert "2 of 786 images are missing, the first is labeled_images/3.png" in line
    assert errors(release, check_images=False) == []
    other = release / TESTING.image_dir / "labeled_images" / "3.png"
    other.write_bytes(b"none")
    cv2.imwrite(str(other.with_name("7.png")), np.zeros((5, 5, 3), np.uint8))
    (line,) = errors(release)
    assert line.startswith("wrong ")
    assert "2 of 786 images are unreadable or of another size" in line


def test_images_not_unpacked(release: Path, moved) -> None:
    moved("")
    (line,) = errors(release)
    assert line.startswith("missing ") and "belong here: unpack" in line


def test_how_boxes_are_counted() -> None:
    boxes = [
        {},
        dict(ignore=True, uncertain=True),
        dict(uncertain=True),
        dict(in_dense_image=True, image_id=2),
        dict(image_id=2),
        dict(iscrowd=1),
    ]
    coco = dict(
        images=[dict(id=k, file_name=str(k)) for k in (1, 2)],
        annotations=[dict(image_id=1) | box for box in boxes],
    )
    assert count_boxes(coco) == dict(positives=1, ignored=2, uncertain=1, dense=2)
