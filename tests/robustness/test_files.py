"""Everything that writes files, on full disks and interrupted; what readers refuse.

docs/reliability.md has the inventory. A place that writes in another way than by
`fpn_necks.io` fails `test_nothing_else_writes`.
"""

from __future__ import annotations

import json
import os
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpn_necks.cli import main
from fpn_necks.datasets.tiny_person import (
    TinyPersonDataset,
    check_tiny_person,
    read_coco,
)
from fpn_necks.datasets.tiny_person.checker import EXPECTED_FILES
from fpn_necks.datasets.tiny_person.city_persons import read_city_persons, scale_images
from fpn_necks.datasets.tiny_person.erase import erase_images
from fpn_necks.datasets.tiny_person.image_sets import write_changed_images
from fpn_necks.evaluation import TinyPersonMetric, evaluate_tiny_person
from fpn_necks.inference.folders import ResultFolder
from fpn_necks.reproduction import load_papers
from tests.datasets.tiny_person.conftest import small_coco, write
from tests.datasets.tiny_person.test_image_tools import write_mat
from tests.full_disk import tree

ROOT = Path(__file__).parents[2]
TILES = dict(size=(64, 48), overlap=(20, 10))
OLD = b"the user's old file\n" * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "in.json", small_coco())
    (tmp_path / "images").mkdir()
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "images" / "a.png"), image)
    found = [dict(image_id=5, category_id=1, bbox=[9, 9, 8, 8], score=0.9)]
    (tmp_path / "found.json").write_text(json.dumps(found))
    (tmp_path / "config.py").write_text("model = dict()")
    return tmp_path


def run(words: str, folder: Path) -> int:
    """Run ``fpn-necks`` in this process; {} is the folder."""
    return main(words.replace("{}", str(folder)).split())


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


# What may write by itself: file -> why.
ALLOWED = {
    "io.py": "it is what the others use",
    "doctor.py": "a temporary folder",
    "doctor_steps.py": "into memory, and a temporary folder",
    "statistics/annotation_boxes.py": "the null device",
    "reproduction/run.py": "a lock file; a log, line by line",
    "checkpoints.py": "torch.save into a whole file",
}
WRITES = re.compile(
    r"""\.(write_text|write_bytes|imwrite|savefig|tofile|rename)\(
    |\bopen\([^\n]*["']([wxa]b?|\w*\+\w*)["']
    |\b(torch|np|json|pickle|yaml|mmengine|config|shutil)
     \.(save|dump|savez|copy|copy2|copyfile|move|rmtree)\(
    |\bos\.(replace|rename|link|symlink|remove|unlink|truncate)\(
    |\.replace\([^,()]*\)  # of a path: that of a string takes two
    """,
    re.VERBOSE,
)


def test_nothing_else_writes() -> None:
    package = ROOT / "fpn_necks"
    calls = {
        path.relative_to(package).as_posix(): found.group()
        for path in package.rglob("*.py")
        if (found := WRITES.search(path.read_text(encoding="utf-8")))
    }
    unknown = {name: call for name, call in calls.items() if name not in ALLOWED}
    assert not unknown, "write by fpn_necks.io, or say here why not"
    # The search must find what there is.
    assert ALLOWED.keys() <= calls.keys()


def named(name: str) -> dict:
    coco = small_coco()
    coco["images"][0]["file_name"] = name
    return coco


READERS: dict[str, Callable[[dict, Path], object]] = {
    "dataset": lambda coco, f: TinyPersonDataset(
        ann_file=str(write(f / "x.json", coco)),
        data_prefix=dict(img=str(f / "images")),
        serialize_data=False,
    ),
    "metric": lambda coco, f: TinyPersonMetric(write(f / "x.json", coco), tiles=TILES),
    "erasing": lambda coco, f: erase_images(coco, f / "images", f / "out"),
    "scaling": lambda coco, f: scale_images(coco, f / "images", f / "out", 4),
}


@pytest.mark.parametrize("reader", READERS)
def test_hostile_file_names(reader: str, folder: Path) -> None:
    before = tree(folder).keys()
    for name in ("../../x.jpg", "/etc/passwd", "a\0.jpg"):
        with pytest.raises(ValueError, match="the file name '"):
            READERS[reader](named(name), folder)
    assert tree(folder).keys() - before <= {"x.json"}
    READERS[reader](named("a.png"), folder)


def test_hostile_file_names_in_other_files(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "a.mat", [("../../etc_1.png", [])])
    with pytest.raises(ValueError, match=r"a.mat: image 1: the file name '../../etc"):
        read_city_persons(path)
    expected = EXPECTED_FILES[0]
    write(tmp_path / expected.path, named("../../x.jpg"))
    checked = check_tiny_person(tmp_path)[0]
    assert checked.status == "wrong" and "'../../x.jpg' leads out" in checked.message


def test_links_out_of_the_folder_are_not_copied(folder: Path, tmp_path: Path) -> None:
    """An image that is a link to a secret must not become part of a published set."""
    secret = tmp_path / "secret"
    secret.write_text("password")
    (folder / "images" / "a.png").unlink()
    (folder / "images" / "a.png").symlink_to(secret)
    with pytest.raises(ValueError, match="'a.png' leads out of the folder .*by a link"):
        nothing = dict(small_coco(), annotations=[])  # the file is copied as it is
        erase_images(nothing, folder / "images", folder / "out")
    (folder / "images" / "a.png").unlink()
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((80, 100, 3), np.uint8))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "out2").mkdir()
    (folder / "out2" / "sub").symlink_to(elsewhere)
    (folder / "images" / "sub").mkdir()
    os.link(folder / "images" / "a.png", folder / "images" / "sub" / "a.png")
    with pytest.raises(ValueError, match="by a link"):
        erase_images(named("sub/a.png"), folder / "images", folder / "out2")
    assert not list(elsewhere.iterdir())


def test_a_copy_never_has_the_place_of_an_original(folder: Path) -> None:
    images = folder / "images"
    (images / "sub").mkdir()
    (images / "sub" / "a.png").write_bytes((images / "a.png").read_bytes())
    before = tree(images)
    with pytest.raises(ValueError, match=r"would be the original .*sub/a.png"):
        write_changed_images(["a.png", "sub/a.png"], images, images / "sub", None)
    (folder / "link").symlink_to(images)
    with pytest.raises(ValueError, match="must not be the folder of the originals"):
        write_changed_images(["a.png"], images, folder / "link", None)
    assert tree(images) == before


def test_outputs_are_never_inputs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder / "in.json"
    (folder / "link.json").symlink_to(source)
    os.link(source, folder / "hard.json")
    before = tree(folder)
    evaluate = "tiny-person evaluate --gt {}/in.json --detections {}/found.json"
    for other in ("link.json", "hard.json"):
        for words in (
            "tiny-person tile {}/in.json {}/OTHER --force",
            "tiny-person erase {}/in.json {}/images {}/out --json {}/OTHER --force",
            "tiny-person city-persons {}/in.json {}/images {}/out {}/OTHER --force",
            "tiny-person city-persons {}/in.json {}/images {}/images {}/new.json",
            f"{evaluate} --json {{}}/OTHER --force",
            f"{evaluate} --json {{}}/found.json --force",
        ):
            assert run(words.replace("OTHER", other), folder) == 2
            assert " must not be " in error_line(capsys)
    assert tree(folder) == before


def test_folders_that_hold_files_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "holiday.txt").write_bytes(OLD)
    before = tree(folder)
    for words in (
        "tiny-person erase {}/in.json {}/images {}/out",
        "tiny-person city-persons {}/in.json {}/images {}/out {}/new.json",
        "tiny-person synthesize {}/out",
    ):
        assert run(words, folder) == 2
        line = error_line(capsys)
        assert str(folder / "out") in line and "files" in line
    monkeypatch.setattr("sys.argv", ["demo.py", "--work-dir", str(folder / "out")])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(ROOT / "tools" / "demo.py"), run_name="__main__")
    assert f"{folder / 'out'} holds files" in capsys.readouterr().err
    assert tree(folder) == before


def test_pictures_never_overwrite_an_image(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "a_features.png"):
        (folder / name).write_bytes(OLD)
    words = "visualize config.py none {}/a.png {}/a_features.png --what features"
    assert run(f"{words} --out {{}} --force", folder) == 2
    assert "would overwrite the image" in capsys.readouterr().err


DAMAGED = {
    "deep": b"[" * 100_000,
    "half": b'{"images": [{"id"',
    "bytes": b"\xff\xfe\x00\xd8",
    "empty": b"",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_and_deep_json(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(DAMAGED[kind])
    for read in (
        lambda: read_coco(path),
        lambda: evaluate_tiny_person(path, []),
    ):
        with pytest.raises(ValueError, match=r"x\.json is no JSON"):
            read()
    # One of our own is made anew.
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    results = ResultFolder(tmp_path / "results", {})
    record = tmp_path / "results" / "detections" / "a.png.json"
    record.parent.mkdir()
    for content in (DAMAGED[kind], b"[]", b'{"file_name": "a.png"}'):
        record.write_bytes(content)
        assert results.load("a.png", image) is None
    assert results.write_coco({"a.png": image}, ("x",)) == (0, 0)


def test_yaml_tags_run_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for tag in ("object/apply:os.system", "object/new:os.system", "name:os.system"):
        text = f"paper: !!python/{tag} ['touch {marker}']\n"
        (tmp_path / "evil.yaml").write_text(text)
        with pytest.raises(ValueError, match="evil.yaml"):
            load_papers(tmp_path)
    assert not marker.exists()
