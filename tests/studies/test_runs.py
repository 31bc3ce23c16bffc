"""Runs of the study: results, interruption, and what is refused."""

import json
from pathlib import Path

import pytest

from fpn_necks.reproduction.run import RESULT_FILE, Launch, run_all
from fpn_necks.studies import recipe
from fpn_necks.studies.cells import Cell, all_cells
from fpn_necks.studies.planning import plan_blocks, plan_run
from fpn_necks.studies.results import collect, read_results
from fpn_necks.studies.sets import draw_synthetic_set, fingerprint
from fpn_necks.studies.training_time import PROCESSOR_SECONDS, STARTS, TrainingTime
from tests.studies.tiny_study import (
    in_this_process,
    make_recipe_tiny,
    write_tiny_bccd,
)

FPN = Cell("retinanet", "bccd", "fpn")


@pytest.fixture
def bccd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_recipe_tiny(monkeypatch)
    return write_tiny_bccd(tmp_path / "bccd")


def start(*runs, execute=in_this_process):
    return run_all(runs, Launch(), say=lambda line: None, execute=execute)


def test_a_run_leaves_one_result_and_is_skipped_when_finished(
    bccd: Path, tmp_path: Path
) -> None:
    cell = Cell("retinanet", "bccd", "s-alpha-fpn")
    run = plan_run(cell, 3, bccd, tmp_path / "work")
    assert not start(run)
    result = json.loads((run.folder / RESULT_FILE).read_text())
    assert result["seed"] == 3 and result["recipe"] == cell.recipe_hash()
    assert result["annotations"] == fingerprint("bccd", bccd)
    assert str(tmp_path) not in json.dumps(result)
    metrics = result["metrics"]
    assert {name for name, _ in cell.set.metrics} <= set(metrics)
    assert metrics[PROCESSOR_SECONDS] > 0 and metrics[STARTS] == 1
    # What Algorithm 1 counted on this set; it is told because it decides the result.
    assert {"fusion_factor/0", "fusion_factor/1"} <= set(metrics)

    def must_not_run(command, output):
        raise AssertionError("it is finished")

    assert not start(run, execute=must_not_run)
    results, trials = tmp_path / "results", tmp_path / "trials"
    assert len(collect(tmp_path / "work", results, trials)) == 1
    assert read_results(results) == {cell.name: [result]}
    assert not trials.exists()


def test_an_interrupted_run_goes_on(
    bccd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan_run(FPN, 0, bccd, tmp_path / "work")
    begin = TrainingTime.before_train_iter

    def interrupted(self, runner, batch_idx, data_batch=None) -> None:
        if batch_idx == 1:
            raise KeyboardInterrupt
        begin(self, runner, batch_idx, data_batch)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingTime, "before_train_iter", interrupted)
        with pytest.raises(KeyboardInterrupt):
            start(run)
    assert run.state() == "interrupted"
    assert (run.folder / "iter_1.pth").is_file()
    assert not start(run)
    result = json.loads((run.folder / RESULT_FILE).read_text())
    assert result["metrics"][STARTS] == 2
    assert "resumed epoch: 0, iter: 1" in (run.folder / "output.txt").read_text()


def test_a_changed_recipe_is_refused(
    bccd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan_run(FPN, 0, bccd, tmp_path / "work")
    start(run, execute=lambda command, output: 1)  # started, and failed
    # The same recipe with the data in another place is no other recipe.
    moved = bccd.rename(tmp_path / "moved")
    plan_run(FPN, 0, moved, tmp_path / "work").check_folder()
    monkeypatch.setattr(recipe, "LEARNING_RATE", 0.5)
    changed = plan_run(FPN, 0, moved, tmp_path / "work")
    with pytest.raises(ValueError, match="another configuration .*lr 0.002 -> 0.5"):
        start(changed)


def test_every_cell_gets_its_first_seed_first(bccd: Path, tmp_path: Path) -> None:
    necks = [Cell("retinanet", "bccd", name) for name in ("fpn", "drfpn")]
    other = [Cell("fcos", "bccd", "fpn")]
    runs = plan_blocks([necks, other], (0, 1), dict(bccd=bccd), tmp_path)
    order = [(run.facts["cell"], run.facts["seed"]) for run in runs]
    assert order == [
        ("retinanet-bccd-fpn", 0),
        ("retinanet-bccd-drfpn", 0),
        ("retinanet-bccd-fpn", 1),
        ("retinanet-bccd-drfpn", 1),
        ("fcos-bccd-fpn", 0),
        ("fcos-bccd-fpn", 1),
    ]


def test_trials_are_no_results(bccd: Path, tmp_path: Path) -> None:
    trial = plan_run(FPN, 0, bccd, tmp_path, test="val")
    run = plan_run(FPN, 0, bccd, tmp_path)
    assert trial.config.test_dataloader.dataset.ann_file == "annotations/val.json"
    assert run.config.test_dataloader.dataset.ann_file == "annotations/test.json"
    assert trial.folder != run.folder
    assert trial.facts["recipe"] != run.facts["recipe"]


def test_wrong_data_are_named(bccd: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no .*nowhere.annotations.train.json"):
        plan_run(FPN, 0, tmp_path / "nowhere", tmp_path)
    file = bccd / "annotations" / "test.json"
    file.write_text(file.read_text().replace("Platelets", "plates"))
    with pytest.raises(ValueError, match="must have the classes RBC, WBC, Platelets"):
        plan_run(FPN, 0, bccd, tmp_path)
    file.write_text("[]")
    with pytest.raises(ValueError, match="test.json is no COCO json"):
        plan_run(FPN, 0, bccd, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("cell", all_cells(), ids=lambda cell: cell.name)
def test_every_cell_trains_and_tests(cell: Cell, bccd: Path, tmp_path: Path) -> None:
    root = bccd if cell.data == "bccd" else draw_synthetic_set(tmp_path)
    run = plan_run(cell, 0, root, tmp_path / "work")
    outcome = start(run)
    assert outcome.finished, outcome.failed
    metrics = json.loads((run.folder / RESULT_FILE).read_text())["metrics"]
    assert {name for name, _ in cell.set.metrics} <= set(metrics)
