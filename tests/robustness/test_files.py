"""Everything that writes files, on full disks and interrupted; what readers refuse.

docs/reliability.md has the inventory. A place that writes in another way than by
`fpn_necks.io` fails `test_nothing_else_writes`.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

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
from fpn_necks.inference.folders import ResultFolder, find_images, refuse_overwriting
from fpn_necks.reproduction import load_papers
from fpn_necks.reproduction.report import read_results
from fpn_necks.visualization import load_samples
from tests.datasets.tiny_person.conftest import small_coco, write
from tests.full_disk import limit_writing, tree
from tests.robustness.file_writers import (
    COMMANDS,
    TILES,
    _main,
    command,
    make_inputs,
)
from tests.test_io import HOSTILE

ROOT = Path(__file__).parents[2]
OLD = b"the user's old file\n" * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_inputs(tmp_path)
    return tmp_path


def put_old(folder: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an old file in the place of the one to write; draw without matplotlib."""
    path = folder / target
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(OLD)
    draw = lambda figure, file, **_: file.write(bytes(100))  # noqa: E731
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", draw)
    # These keep files that are there, and delete those of a set they draw anew.
    if target.startswith(("erased", "scaled")):
        path.unlink()
    return path


def is_kept(path: Path, target: str) -> bool:
    if target.startswith(("erased", "scaled", "set")):
        return not path.exists()
    return path.read_bytes() == OLD


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_on_a_full_disk(
    name: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target, run = COMMANDS[name]
    path = put_old(folder, target, monkeypatch)
    with monkeypatch.context() as patch:
        limit_writing(patch, 20)
        assert run(folder) == 2
    assert is_kept(path, target)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "No space left on device: '" in line and str(folder) in line
    assert not [name for name in tree(folder) if name.endswith(".part")]
    assert run(folder) == 0
    assert path.read_bytes() != OLD


# What may write by itself: file -> why.
ALLOWED = {
    "fpn_necks/io.py": "it is what the others use",
    "fpn_necks/doctor.py": "a temporary folder",
    "fpn_necks/doctor_steps.py": "into memory, and a temporary folder",
    "fpn_necks/statistics/annotation_boxes.py": "the null device",
    "fpn_necks/reproduction/run.py": "a lock file; a log, line by line",
    "fpn_necks/checkpoints.py": "torch.save into a whole file",
    "tools/analysis/benchmark_tiny_person_evaluation.py": "a temporary folder",
    "tools/study/data.py": "a folder of its own",
    "tools/study/report.py": "pages of the clone",
    "tools/study/results.py": "whole or not at all",
    "tools/study/study.py": "a lock file",
    "tools/study/training.py": "a clock of its own",
    "tools/demo.py": "a log of what mmdet prints, line by line",
}
WRITING = {"write_text", "write_bytes", "imwrite", "savefig", "tofile", "rename"}
OF_A_MODULE = {"save", "dump", "savez", "copy", "copy2", "copyfile", "move", "rmtree"}
MODULES = {"torch", "np", "json", "pickle", "yaml", "mmengine", "config", "shutil"}
OF_OS = {"replace", "rename", "link", "symlink", "remove", "unlink", "truncate"}


def writing_calls(path: Path) -> list[str]:
    """Return the calls that may write, move or delete files, by name and line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        owner = getattr(getattr(function, "value", None), "id", "")
        is_method = isinstance(function, ast.Attribute)
        if name == "open":
            modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
            modes += [k.value.value for k in node.keywords if k.arg == "mode"]
            writes = any(str(mode)[:1] in "wxa" or "+" in str(mode) for mode in modes)
        elif name in OF_A_MODULE:
            writes = owner in MODULES
        else:
            # str.replace takes two, dataclasses.replace names what it changes.
            moves = name == "replace" and len(node.args) == 1 and not node.keywords
            writes = is_method and (name in WRITING or moves or owner == "os")
            writes = writes and not (owner == "os" and name not in OF_OS)
        if writes:
            found.append(f"{name}, line {node.lineno}")
    return found


def test_nothing_else_writes() -> None:
    files = [*(ROOT / "fpn_necks").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    assert len(files) > 100
    writing = {}
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        calls = writing_calls(path)
        if calls:
            writing[name] = calls
    unknown = {name: calls for name, calls in writing.items() if name not in ALLOWED}
    assert not unknown, "write by fpn_necks.io, or say here why not"
    # The search must find what there is.
    assert ALLOWED.keys() <= writing.keys()


def named(name: str) -> dict:
    coco = small_coco()
    coco["images"][0]["file_name"] = name
    return coco


def load_drawn_samples(name: str, folder: Path) -> object:
    found = write(folder / "none.json", [])
    return load_samples(write(folder / "x.json", named(name)), found, folder, 1)


READERS: dict[str, Callable[[str, Path], object]] = {
    "read_coco": lambda name, f: read_coco(write(f / "x.json", named(name))),
    "dataset": lambda name, f: TinyPersonDataset(
        ann_file=str(write(f / "x.json", named(name))),
        data_prefix=dict(img=str(f / "images")),
        serialize_data=False,
    ),
    "metric": lambda name, f: TinyPersonMetric(
        write(f / "x.json", named(name)), tiles=TILES
    ),
    "city_persons json": lambda name, f: read_city_persons(
        write(f / "x.json", named(name))
    ),
    "erasing": lambda name, f: erase_images(named(name), f / "images", f / "out"),
    "scaling": lambda name, f: scale_images(named(name), f / "images", f / "out", 4),
    "samples": load_drawn_samples,
}


@pytest.mark.parametrize("reader", READERS)
def test_hostile_file_names(reader: str, folder: Path) -> None:
    before = tree(folder).keys()
    for name in HOSTILE:
        with pytest.raises(ValueError, match="the file name '"):
            READERS[reader](name, folder)
    assert tree(folder).keys() - before <= {"x.json", "none.json"}
    READERS[reader]("a.png", folder)


def test_hostile_file_names_on_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "in.json", named("../../x.jpg"))
    for name in ("tile", "erase", "city-persons"):
        assert COMMANDS[name][1](folder) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "in.json: image 5: the file name '../../x.jpg' leads out" in line


def test_the_checker_says_so(tmp_path: Path) -> None:
    expected = next(e for e in EXPECTED_FILES if e.required)
    write(tmp_path / expected.path, named("../../x.jpg"))
    finding = check_tiny_person(tmp_path)[0]
    assert finding.kind == "wrong" and "'../../x.jpg' leads out" in finding.message


def test_links_out_of_the_folder_are_not_copied(folder: Path, tmp_path: Path) -> None:
    """An image that is a link to a secret must not become part of a published set."""
    secret = tmp_path / "secret"
    secret.write_text("password")
    (folder / "images" / "a.png").unlink()
    (folder / "images" / "a.png").symlink_to(secret)
    with pytest.raises(ValueError, match="'a.png' leads out of the folder .*by a link"):
        erase_images(small_coco(), folder / "images", folder / "out", fields=())
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
    for other in ("link.json", "hard.json"):
        path = folder / other
        path.symlink_to(source) if other == "link.json" else os.link(source, path)
        before = tree(folder)
        images, out = folder / "images", folder / "out"
        found = folder / "found.json"
        for words in (
            ("tile", source, path, "--force"),
            ("erase", source, images, out, "--json", path, "--force"),
            ("city-persons", source, images, out, path, "--force"),
            ("city-persons", source, images, images, folder / "new.json"),
            ("evaluate", "--gt", source, "--detections", found,
             "--json", path, "--force"),
            ("evaluate", "--gt", source, "--detections", found,
             "--json", found, "--force"),
        ):  # fmt: skip
            assert command("tiny-person", *words) == 2
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert " must not be " in line
        assert tree(folder) == before


def test_folders_that_hold_files_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "holiday.txt").write_bytes(OLD)
    before = tree(folder)
    source = (folder / "in.json", folder / "images", folder / "out")
    for words in (
        ("tiny-person", "erase", *source),
        ("tiny-person", "city-persons", *source, folder / "new.json"),
        ("tiny-person", "synthesize", folder / "out"),
        ("demo", "--work-dir", folder / "out"),
    ):
        run = _main if words[0] == "demo" else command
        assert run(*words) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert str(folder / "out") in line and "files" in line
    assert tree(folder) == before


def test_results_never_overwrite_their_image(folder: Path) -> None:
    """The drawn picture of an image in drawn/ has the image's own place."""
    results = folder / "results"
    (results / "drawn").mkdir(parents=True)
    image = results / "drawn" / "a.png"
    image.write_bytes(OLD)
    found = find_images(image, results)
    with pytest.raises(ValueError, match="a.png would overwrite it"):
        refuse_overwriting(found, results)
    (folder / "other").mkdir()
    (folder / "other" / "drawn").symlink_to(folder / "images")
    with pytest.raises(ValueError, match="a.png would overwrite it"):
        refuse_overwriting(
            find_images(folder / "images", folder / "other"), folder / "other"
        )
    refuse_overwriting(find_images(folder / "images", results), results)


def test_pictures_never_overwrite_an_image(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, other = folder / "a.png", folder / "a_features.png"
    image.write_bytes(OLD)
    other.write_bytes(OLD)
    words = ["config.py", "none", str(image), str(other), "--what", "features"]
    assert command("visualize", *words, "--out", folder, "--force") == 2
    error = capsys.readouterr().err
    assert re.search("would overwrite the image .*a_features.png", error)


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
    none = write(tmp_path / "none.json", [])
    seed = tmp_path / "row" / "seed0" / "result.json"
    seed.parent.mkdir(parents=True)
    seed.write_bytes(DAMAGED[kind])
    for read in (
        lambda: read_coco(path),
        lambda: evaluate_tiny_person(path, []),
        lambda: load_samples(path, none, tmp_path, 1),
        lambda: load_samples(none, path, tmp_path, 1),
        lambda: read_results(tmp_path / "row"),
    ):
        with pytest.raises(ValueError, match=r"(x|result)\.json,? is no (JSON|json)"):
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
