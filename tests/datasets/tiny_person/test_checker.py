"""The checker of the release: every way in which a file can be wrong."""

from __future__ import annotations

import json
import re
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

TRAINING, TESTING = (expected for expected in EXPECTED_FILES if expected.required)


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
    findings = check_tiny_person(root, **options)
    assert all("\n" not in str(finding) for finding in findings), "one line each"
    return [str(finding) for finding in findings if finding.is_error]


def test_complete(release: Path) -> None:
    findings = check_tiny_person(release)
    assert [f.kind for f in findings] == ["ok"] * (2 * len(EXPECTED_FILES))
    assert "training: 746 images, 18,433 boxes" in str(findings[0])
    assert "all 746 images" in str(findings[1])


def test_paths_are_those_of_the_config() -> None:
    path = configs_folder() / "_base_/datasets/tiny_person.py"
    config = Config.fromfile(path)
    places = {(e.path, e.image_dir) for e in EXPECTED_FILES if e.required}
    for loader in (config.train_dataloader, config.val_dataloader):
        dataset = loader.dataset
        assert (dataset.ann_file, dataset.data_prefix.img.rstrip("/")) in places
        assert dataset.data_root == "data/tiny_set/"


def test_only_what_is_needed_is_missed(tmp_path: Path) -> None:
    (tmp_path / "tiny_set").mkdir()
    found = errors(tmp_path / "tiny_set")
    assert len(found) == 2
    for line, expected in zip(found, (TRAINING, TESTING), strict=True):
        assert line.startswith("missing ") and expected.path in line
        assert "belong here" in line


def test_no_folder(tmp_path: Path) -> None:
    (line,) = errors(tmp_path / "none")
    assert "no such folder" in line and "docs/tiny_person.md" in line
    documented = Path(__file__).parents[3] / "docs" / "tiny_person.md"
    assert documented.is_file()


def test_one_folder_too_high(release: Path) -> None:
    (line,) = errors(release.parent)
    assert f"check {release}" in line


class TestWrongFiles:
    def test_dense_images_in_it(self, release: Path, change) -> None:
        def add(coco: dict) -> None:
            coco["images"] += [dict(coco["images"][0], id=999 + k) for k in range(48)]

        path = change(TRAINING.path, add)
        (line,) = errors(release)
        assert line.startswith("wrong ") and str(path) in line
        assert "not the file for training: 794 images, expected 746" in line

    def test_without_its_ignored_boxes(self, release: Path, change) -> None:
        change(TESTING.path, lambda c: [a.pop("ignore", 0) for a in c["annotations"]])
        (line,) = errors(release)
        assert "15,776 positives, expected 13,787; 0 ignored, expected 1,989" in line

    def test_both_published_numbers_of_uncertain_boxes_pass(
        self, release: Path, change
    ) -> None:
        def add(count: int) -> Callable[[dict], None]:
            return lambda coco: coco["annotations"].extend(
                dict(coco["annotations"][0], id=10**6 + k, uncertain=True)
                for k in range(count)
            )

        change(TESTING.path, add(2))
        assert errors(release) == []
        change(TESTING.path, add(0))  # on top of the changed file: ids occur twice
        (release / TESTING.path).write_text(
            (release / TESTING.path)
            .read_text()
            .replace('"uncertain": true', '"u": 1', 1)
        )
        (line,) = errors(release)
        assert "2,833 uncertain, expected 2,832 or 2,834" in line

    def test_not_erased(self, release: Path, change) -> None:
        change(TRAINING.path, lambda c: c["annotations"][0].update(ignore=True))
        (line,) = errors(release)
        assert "18,432 positives, expected 18,433; 1 ignored, expected 0" in line

    def test_tiles(self, release: Path, change) -> None:
        change(TESTING.path, lambda c: c["images"][0].update(corner=[0, 0, 8, 6]))
        (line,) = errors(release)
        assert "it holds tiles instead of whole images" in line

    def test_broken_json(self, release: Path, change) -> None:
        path = change(TESTING.path, lambda _: None)
        path.write_text("{")
        (line,) = errors(release)
        assert re.search(rf"wrong +{path}: is no JSON file", line)

    def test_files_that_no_config_reads_stop_nobody(
        self, release: Path, change
    ) -> None:
        change(EXPECTED_FILES[2].path, lambda c: c["images"].pop())
        assert errors(release) == []
        (note,) = [f for f in check_tiny_person(release) if f.kind == "note"]
        assert "745 images, expected 746" in note.message


class TestImages:
    def test_missing_ones(self, release: Path) -> None:
        folder = release / TESTING.image_dir / "labeled_images"
        for number in (3, 7):
            (folder / f"{number}.png").rename(folder / f"{number}.away")
        try:
            (line,) = errors(release)
            assert "2 of 786 images are missing" in line
            assert "the first is labeled_images/3.png" in line
            assert errors(release, check_images=False) == []
        finally:
            for number in (3, 7):
                (folder / f"{number}.away").rename(folder / f"{number}.png")

    @pytest.mark.parametrize("content", ["other size", "no image"])
    def test_other_ones(self, release: Path, content: str) -> None:
        path = release / TESTING.image_dir / "labeled_images" / "5.png"
        kept = path.rename(path.with_suffix(".away"))
        try:
            if content == "no image":
                path.write_bytes(b"none")
            else:
                cv2.imwrite(str(path), np.zeros((5, 5, 3), np.uint8))
            (line,) = errors(release)
            assert line.startswith("wrong ")
            assert "1 of 786 images are unreadable or of another size" in line
        finally:
            kept.rename(path)

    def test_not_unpacked(self, release: Path) -> None:
        folder = release / TESTING.image_dir
        kept = folder.rename(release / "away")
        archive = release / "test.tar.gz"
        archive.touch()
        try:
            (line,) = errors(release)
            assert "belong here; unpack test.tar.gz" in line
        finally:
            archive.unlink()
            kept.rename(folder)


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
