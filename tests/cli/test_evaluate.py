"""The command line: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest

from fpn_necks.cli import main
from fpn_necks.evaluation import evaluate_tiny_person
from fpn_necks.evaluation.report import paper_table
from tests.evaluation.golden_case import expected_results, golden_json
from tests.evaluation.small_case import small_case


@pytest.fixture
def run(capsys: pytest.CaptureFixture):
    """Run the command in this process; return status, output and error output."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["tiny-person", "evaluate", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write the golden tiles' files; return the options that name them."""
    names = {
        "--gt": "tiles_merged_gt",
        "--detections": "tiles_dets",
        "--tiles": "tiles_corner_gt",
    }
    paths = {option: tmp_path / f"{name}.json" for option, name in names.items()}
    for option, name in names.items():
        paths[option].write_text(json.dumps(golden_json(name)))
    return paths


def test_tiles(run, files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "out.json"
    arguments = [word for pair in files.items() for word in pair]
    status, output, _ = run(*arguments, "--json", out)
    assert status == 0
    rules, *table, last = output.splitlines()
    assert rules.startswith("rules of the released evaluation")
    expected = expected_results(golden_json("tiles_merged_expected")["ap"][0], "ap")
    names, values = table[2].split(), table[3].split()
    assert names == [
        "AP50_tiny", "AP50_tiny1", "AP50_tiny2", "AP50_tiny3", "AP50_small",
        "AP25_tiny", "AP75_tiny",
    ]  # fmt: skip
    assert values == [f"{100 * expected[name]:.2f}" for name in names]
    assert table[0].split()[:2] == ["MR50_tiny", "MR50_tiny1"]
    assert str(out) in last
    written = json.loads(out.read_text())
    assert written["results"] == evaluate_tiny_person(*files.values())
    assert written["released"] is True


def test_options(run, files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("mine")
    arguments = [word for pair in files.items() for word in pair]
    arguments += ["--json", out, "--corrected"]
    status, _, error = run(*arguments)
    assert status == 2
    assert "out.json exists; --force overwrites it" in error
    assert out.read_text() == "mine"
    status, output, _ = run(*arguments, "--force")
    assert status == 0
    assert output.startswith("corrected rules")
    written = json.loads(out.read_text())
    assert written["released"] is False
    assert written["results"] == evaluate_tiny_person(*files.values(), released=False)


def test_categories_and_dense_images(run, tmp_path: Path) -> None:
    truth, detections = small_case()
    truth["categories"] = [dict(id=1, name="sea_person"), dict(id=2, name="b")]
    truth["annotations"][0]["category_id"] = 2
    truth["annotations"][2]["in_dense_image"] = True
    paths = tmp_path / "gt.json", tmp_path / "detections.json"
    for path, content in zip(paths, (truth, detections), strict=True):
        path.write_text(json.dumps(content))
    arguments = ["--gt", paths[0], "--detections", paths[1]]
    _, output, _ = run(*arguments, "--merge-categories", "--leave-out-dense")
    assert output.splitlines()[-1].split()[0] == "100.00"


def test_table_without_boxes_and_without_columns() -> None:
    table = paper_table({"AP50_tiny": 0.12345, "AP50_small": -1.0}, released=False)
    rules, *lines = table.splitlines()
    assert lines == ["AP50_tiny  AP50_small", "    12.35           -"]
    assert paper_table({"AP50_mine": 0.5}, False) == rules
