"""`fpn-necks tiny-person`: tile, erase, city-persons, check, evaluate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from fpn_necks.cli import main
from fpn_necks.datasets import SyntheticTinyPerson, generate
from fpn_necks.datasets.tiny_person import TileSettings, read_coco, tile_coco
from fpn_necks.evaluation import evaluate_tiny_person
from fpn_necks.evaluation.report import paper_table
from fpn_necks.shipped_configs import config_path
from tests.datasets.tiny_person.release import make_release
from tests.datasets.tiny_person.test_image_tools import TestCityPersons, write_mat
from tests.evaluation.golden_case import expected_results, golden_json
from tests.evaluation.small_case import small_case


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
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
    before = out.read_bytes()
    assert "--force overwrites it" in run("tile", source, out, status=2)
    assert out.read_bytes() == before
    run("tile", source, out, "--force")
    assert out.read_bytes() != before


def test_erasing(run, drawn: SyntheticTinyPerson, tmp_path: Path) -> None:
    source = drawn.train.annotation_file, drawn.train.image_dir
    out, written = tmp_path / "erased", tmp_path / "erased.json"
    output = run("erase", *source, out, "--json", written)
    assert "2 images written" in output
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
    output = run("erase", *source, out, "--resume")
    assert "0 images written" in output and "2 were there" in output


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


def test_checker(run, tmp_path: Path) -> None:
    output = run("check", tmp_path / "tiny_set", status=1)
    assert "no such folder" in output
    root = make_release(tmp_path / "tiny_set")
    output = run("check", root)
    assert output.count("ok  ") == 4 and "to fix" not in output
    (root / "mini_annotations" / "tiny_set_test_all.json").unlink()
    output = run("check", root, "--no-images", status=1)
    assert "missing " in output and "1 problem to fix" in output


def test_evaluation_of_tiles(run, tmp_path: Path) -> None:
    names = ("tiles_merged_gt", "tiles_dets", "tiles_corner_gt")
    files = [tmp_path / f"{name}.json" for name in names]
    for file, name in zip(files, names, strict=True):
        file.write_text(json.dumps(golden_json(name)))
    words = ["--gt", files[0], "--detections", files[1], "--tiles", files[2]]
    out = tmp_path / "new folder" / "out.json"
    rules, *table, last = run("evaluate", *words, "--json", out).splitlines()
    assert rules.startswith("rules of the released evaluation") and str(out) in last
    expected = expected_results(golden_json("tiles_merged_expected")["ap"][0], "ap")
    names, values = table[2].split(), table[3].split()
    assert names == [
        "AP50_tiny", "AP50_tiny1", "AP50_tiny2", "AP50_tiny3", "AP50_small",
        "AP25_tiny", "AP75_tiny",
    ]  # fmt: skip
    assert values == [f"{100 * expected[name]:.2f}" for name in names]
    assert table[0].split()[:2] == ["MR50_tiny", "MR50_tiny1"]
    written = json.loads(out.read_text())
    assert written["released"] is True
    assert written["results"] == evaluate_tiny_person(*files)
    words += ["--json", out, "--corrected"]
    assert "--force overwrites it" in run("evaluate", *words, status=2)
    assert json.loads(out.read_text()) == written
    assert run("evaluate", *words, "--force").startswith("corrected rules")
    corrected = evaluate_tiny_person(*files, released=False)
    assert json.loads(out.read_text())["results"] == corrected != written["results"]


def test_categories_and_dense_images(run, tmp_path: Path) -> None:
    truth, detections = small_case()
    truth["categories"] = [dict(id=1, name="sea_person"), dict(id=2, name="b")]
    truth["annotations"][0]["category_id"] = 2
    truth["annotations"][2]["in_dense_image"] = True
    paths = tmp_path / "gt.json", tmp_path / "detections.json"
    for path, content in zip(paths, (truth, detections), strict=True):
        path.write_text(json.dumps(content))
    words = ["--gt", paths[0], "--detections", paths[1], "--merge-categories"]
    output = run("evaluate", *words, "--leave-out-dense")
    assert output.splitlines()[-1].split()[0] == "100.00"


def test_table_without_boxes_and_without_columns() -> None:
    table = paper_table({"AP50_tiny": 0.12345, "AP50_small": -1.0}, released=False)
    rules, *lines = table.splitlines()
    assert lines == ["AP50_tiny  AP50_small", "    12.35           -"]
    assert paper_table({"AP50_mine": 0.5}, released=False) == rules


def test_the_demo_configs_own_command(run, tmp_path: Path) -> None:
    """Its comment says how the set is made; a smaller one here."""
    name = "s_alpha_fpn/retinanet_r18_s-alpha-fpn_demo_synthetic-tiny-person.py"
    text = config_path(name).read_text().partition("tiny-person synthesize ")[2]
    folder, *words = re.sub(r"\\\n#", "", text.partition("\n# A set")[0]).split()
    assert folder.startswith("data/") and "--distractors-per-image" in words
    few = ["--num-train", 1, "--num-val", 1]
    output = run("synthesize", tmp_path / "set", *words, *few)
    assert output.count("1 images") == 2
