"""The page: numbers from hand-made results, what is missing, and that it is current."""

import json
from pathlib import Path

import pytest

from fpn_necks.studies.cells import Cell, sweep_cells
from fpn_necks.studies.drawing import draw_sweep
from fpn_necks.studies.report import (
    NOTES,
    PAGE,
    PICTURE,
    RESULTS,
    TRIALS,
    accuracy_table,
    cost_table,
    overview_table,
    page,
    sweep_table,
)
from fpn_necks.studies.results import collect, read_results, read_trials
from tests.studies.tiny_study import hand_made, write_results

DOCS = Path(__file__).parents[2] / "docs"
FPN, AUGFPN, DRFPN = (
    Cell("retinanet", "bccd", neck) for neck in ("fpn", "augfpn", "drfpn")
)


def some_results() -> list[dict]:
    return [
        hand_made(FPN, 0, AP=50.0, AP50=80.0, APs=-100),
        hand_made(FPN, 1, AP=54.0, AP50=80.0, APs=-100),
        hand_made(FPN, 2, AP=10.0, AP50=80.0, APs=-100),
        # Of two seeds, and worse than FPN with both: 49 - 50 and 51 - 54.
        hand_made(AUGFPN, 0, AP=49.0),
        hand_made(AUGFPN, 1, AP=51.0),
    ]


def row(table: str, name: str) -> list[str]:
    lines = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    assert len(lines) == 1, table
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


@pytest.fixture
def results(tmp_path: Path) -> dict:
    write_results(tmp_path / "results", some_results())
    return read_results(tmp_path / "results")


def test_means_deviations_and_paired_differences(results: dict) -> None:
    table = accuracy_table(results, [FPN, AUGFPN, DRFPN])
    fpn = row(table, "FPN")
    # mean 38, deviations 12, 16 and -28: sqrt((144 + 256 + 784) / 2) = 24.3
    assert fpn[1:5] == ["3", "38.0 ± 24.3", "80.0 ± 0.0", "–"]
    assert fpn[5] == "–"  # -1: COCO has no object of that size
    # The differences are -1 and -3; the third seed of FPN has no partner.
    augfpn = row(table, "AugFPN")
    assert augfpn[1] == "2" and augfpn[-1] == "-2.0 ± 1.4"
    assert row(table, "DRFPN")[1] == "not run"
    assert row(overview_table(results), "AugFPN")[1] == "50.0 ± 1.4 (2)"
    assert row(overview_table(results), "DRFPN")[1:] == ["not run"] * 6


def test_costs(results: dict) -> None:
    table = cost_table(results, [FPN, AUGFPN, DRFPN])
    # 4, 5 and 6 minutes
    assert row(table, "FPN")[1:] == ["3.30", "–", "1.20", "5.0 ± 1.0"]
    assert row(table, "AugFPN")[2] == "0.50"
    assert row(table, "DRFPN")[1] == "not run"
    results[FPN.name][0].update(device="a GPU")
    results[FPN.name][0]["metrics"]["cost/training_wall_s"] = 30.0
    text = row(cost_table(results, [FPN]), "FPN")[-1]
    assert text == "0.5 on a GPU, 5.5 ± 0.7"


def test_the_page_says_what_was_not_run(results: dict) -> None:
    text = page(results, [])
    assert "5 of the 42 planned runs were made." in text
    assert "### RetinaNet on BCCD" in text
    assert "### FCOS" not in text and "![" not in text
    assert row(sweep_table(results), "0.5")[1] == "not run"
    results[FPN.name][0]["metrics"]["cost/starts"] = 3
    told = "random numbers than without the interruption: `retinanet-bccd-fpn` seed 0."
    assert told in page(results, [])


def test_the_sweep(tmp_path: Path) -> None:
    assert not draw_sweep({}, tmp_path / "none.png")
    made = {}
    for number, (_, cell) in enumerate(sweep_cells()):
        made[cell.name] = [
            hand_made(cell, seed, AP50_tiny=10 + number + seed, AP50_small=20.0)
            for seed in (0, 1)
        ]
    for result in made["retinanet-synthetic-s-alpha-fpn"]:
        result["metrics"] |= {"fusion_factor/0": 0.5, "fusion_factor/1": 0.25}
    table = sweep_table(made)
    assert row(table, "0")[1:3] == ["2", "10.5 ± 0.7"]
    assert row(table, "1 (FPN)")[2] == "14.5 ± 0.7"
    assert row(table, "statistic: 0.50, 0.25")[2] == "16.5 ± 0.7"
    assert draw_sweep(made, tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert f"]({PICTURE.as_posix()})" in page(made, [])


def test_results_of_two_recipes_or_sets_are_not_mixed(tmp_path: Path) -> None:
    results = some_results()
    results[1]["recipe"] = "0" * 16
    write_results(tmp_path, results)
    with pytest.raises(ValueError, match="seed1.json was made with recipe 0000"):
        read_results(tmp_path)
    results = some_results()
    results[4]["annotations"] = dict(train="other", test="b")
    write_results(tmp_path, results)
    with pytest.raises(ValueError, match="different annotations of BCCD"):
        read_results(tmp_path)
    (tmp_path / "retinanet-bccd-augfpn_seed0.json").write_text("{}")
    with pytest.raises(ValueError, match="no result of the study: no cell, seed"):
        read_results(tmp_path)


def test_collecting_replaces_nothing(tmp_path: Path) -> None:
    first, second = hand_made(FPN, 0, AP=50.0), hand_made(FPN, 0, AP=60.0)
    run = tmp_path / "work" / FPN.name / "seed0" / "result.json"
    run.parent.mkdir(parents=True)
    run.write_text(json.dumps(first))
    results, trials = tmp_path / "results", tmp_path / "trials"
    assert len(collect(tmp_path / "work", results, trials)) == 1
    assert collect(tmp_path / "work", results, trials) == []
    run.write_text(json.dumps(second))
    with pytest.raises(ValueError, match="two results of one run"):
        collect(tmp_path / "work", results, trials)
    assert read_results(results)[FPN.name] == [first]


def test_trials_stand_on_the_page(tmp_path: Path) -> None:
    trial = hand_made(FPN, 100, AP=52.0, AP50=88.0) | dict(tested_on="val")
    trial["recipe"] = FPN.recipe_hash(test="val")
    earlier = trial | dict(recipe="0" * 16, finished="2020-01-01T00:00:00+00:00")
    folder = tmp_path / "work" / "trials" / FPN.name
    for name, result in (("seed100", trial), ("seed99", earlier)):
        (folder / name).mkdir(parents=True)
        (folder / name / "result.json").write_text(json.dumps(result))
    collect(tmp_path / "work", tmp_path / "results", tmp_path / "trials")
    trials = read_trials(tmp_path / "trials")
    text = page({}, trials)
    assert "- Trial 1, an earlier recipe: AP 52.0, AP50 88.0" in text
    assert "- Trial 2, this recipe: AP 52.0, AP50 88.0" in text


def test_notes_are_of_whoever_made_the_runs() -> None:
    assert "What the runs show" not in page({}, [])
    assert "## What the runs show\n\nNothing yet.\n\n## " in page(
        {}, [], "Nothing yet."
    )


def test_the_committed_page_is_that_of_the_committed_results() -> None:
    results = read_results(DOCS / RESULTS)
    trials = read_trials(DOCS / TRIALS)
    assert 1 <= len(trials) <= 3
    written = (DOCS / PAGE).read_text(encoding="utf-8")
    notes = (DOCS / NOTES).read_text(encoding="utf-8")
    assert written == page(results, trials, notes), "run tools/study.py report"
    assert (DOCS / PICTURE).is_file() == (f"({PICTURE.as_posix()})" in written)


def test_the_last_trial_is_of_the_recipe_and_no_seed_of_the_study() -> None:
    last = read_trials(DOCS / TRIALS)[-1]
    assert last["recipe"] == FPN.recipe_hash(test="val")
    assert last["seed"] not in (0, 1, 2) and last["tested_on"] == "val"
