"""`fpn-necks tiny-person`: tile, erase, city-persons, check."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpn_necks.cli import main
from fpn_necks.datasets import SyntheticTinyPerson, generate
from fpn_necks.datasets.tiny_person import TileSettings, read_coco, tile_coco
from tests.datasets.tiny_person.release import make_release
from tests.datasets.tiny_person.test_image_tools import TestCityPersons, write_mat


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run a command in this process, which spares the imports of a new one."""

    def start(command: str, *arguments: object, status: int = 0) -> str:
        found = main(["tiny-person", command, *map(str, arguments)])
        output = capsys.readouterr()
        assert found == status, output.out + output.err
        return output.out + output.err

    return start


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> SyntheticTinyPerson:
    return generate(
        tmp_path_factory.mktemp("drawn") / "set",
        num_train=2,
        num_val=1,
        image_size=(160, 128),
        size_range=(4, 24),
        ignore_fraction=0.3,
        progress=False,
    )


def test_tiles(run, drawn: SyntheticTinyPerson, tmp_path: Path) -> None:
    source, out = drawn.train.annotation_file, tmp_path / "new" / "tiles.json"
    options = "--size 64 50 --overlap 20 10 --keep 0.5 --cut-boxes drop".split()
    output = run("tile", source, out, *options)
    settings = TileSettings((64, 50), (20, 10), 0.5, "drop")
    expected, counts = tile_coco(read_coco(source), settings)
    assert json.loads(out.read_text()) == json.loads(json.dumps(expected))
    assert str(counts) in output
    assert "100%" in output and "2/2" in output
    before = out.read_bytes()
    assert "--force overwrites it" in run("tile", source, out, status=2)
    assert out.read_bytes() == before
    output = run("tile", source, out, "--force", "--no-progress")
    assert out.read_bytes() != before and "100%" not in output


def test_erasing(run, drawn: SyntheticTinyPerson, tmp_path: Path) -> None:
    source = drawn.train.annotation_file, drawn.train.image_dir
    out, written = tmp_path / "erased", tmp_path / "erased.json"
    output = run("erase", *source, out, "--json", written)
    assert "2 images written" in output and "100%" in output
    assert {path.name for path in out.glob("*.jpg")} == {
        path.name for path in drawn.train.image_dir.iterdir()
    }
    kept = read_coco(written)["annotations"]
    assert 0 < len(kept) < drawn.train.boxes
    assert not any(a["ignore"] for a in kept)
    output = run("erase", *source, out, "--json", written, status=2)
    assert "--force overwrites it" in output
    output = run("erase", *source, out, status=2)
    assert "holds files" in output and "--resume" in output
    output = run("erase", *source, out, "--no-progress", "--resume")
    assert "0 images written" in output and "2 were there" in output
    output = run("erase", *source, drawn.train.image_dir, status=2)
    assert "must not be the folder of the originals" in output


def test_city_persons(run, tmp_path: Path) -> None:
    name = TestCityPersons.NAME
    mat = write_mat(tmp_path / "anno_val.mat", [(name, list(TestCityPersons.ROWS))])
    (tmp_path / "val" / "lindau").mkdir(parents=True)
    picture = np.full((1024, 2048, 3), 77, np.uint8)
    cv2.imwrite(str(tmp_path / "val" / "lindau" / name), picture)
    out, written = tmp_path / "tiny", tmp_path / "tiny.json"
    arguments = (mat, tmp_path / "val", out, written)
    output = run("city-persons", *arguments)
    assert "1 images, 3 boxes; 1 images written" in output
    coco = read_coco(written)
    assert coco["annotations"][0]["bbox"] == [375, 100, 10, 24]
    assert cv2.imread(str(out / "lindau" / name)).shape == (256, 512, 3)
    assert "--force overwrites it" in run("city-persons", *arguments, status=2)
    assert "--resume" in run("city-persons", *arguments, "--force", status=2)
    options = ("--force", "--resume", "--factor", "0")
    output = run("city-persons", *arguments, *options, status=2)
    assert "factor must be finite and above 0" in output


def test_checker(run, tmp_path: Path) -> None:
    output = run("check", tmp_path / "tiny_set", status=1)
    assert "no such folder" in output
    root = make_release(tmp_path / "tiny_set")
    output = run("check", root, "--no-progress")
    assert output.count("ok  ") == 4 and "to fix" not in output
    (root / "mini_annotations" / "tiny_set_test_all.json").unlink()
    output = run("check", root, "--no-images", status=1)
    assert "missing " in output and "1 problem to fix" in output
