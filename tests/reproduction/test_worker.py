"""The process of a run: trains, resumes, evaluates and writes the result."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from fpn_necks.checkpoints import read_checkpoint
from fpn_necks.reproduction import Table, worker
from fpn_necks.reproduction.planning import Launch, Request, Run, choose_rows, plan_runs
from fpn_necks.reproduction.running import run_all
from tests.reproduction.tiny_table import in_this_process, small_options, tiny_table
from tests.tiny_sets import write_coco_set


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return tiny_table(tmp_path_factory.mktemp("worker"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_coco_set(folder, num_images=4)
    return folder


def plan(table: Table, folder: Path, data: Path, slug: str, **options) -> Run:
    request = Request(folder, overrides=small_options(data) | options)
    (run,) = plan_runs(table, choose_rows(table, [slug]), request)
    return run


def result_of(run: Run) -> dict:
    return json.loads((run.folder / "result.json").read_text())


class Crash(Hook):
    """Stands for a machine that stops in the second epoch."""

    def before_train_epoch(self, runner) -> None:
        if runner.epoch == 1:
            raise RuntimeError("the machine stops")


def test_a_run_is_interrupted_and_continued(
    table: Table, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(table, tmp_path / "work", data, "s-alpha-alpha-0.5")
    register = worker.Runner.register_hook

    def register_crash(runner, hook, *arguments, **options) -> None:
        register(runner, hook, *arguments, **options)
        if isinstance(hook, worker.RunRecorder):
            register(runner, Crash())

    with monkeypatch.context() as patch:
        patch.setattr(worker.Runner, "register_hook", register_crash)
        with pytest.raises(RuntimeError, match="the machine stops"):
            run_all([run], Launch(), lambda line: None, in_this_process)
    assert (run.folder / "epoch_1.pth").is_file() and run.state() == "interrupted"
    before = read_checkpoint(run.folder / "epoch_1.pth")
    # The folder may go to another disk before the run goes on.
    (tmp_path / "work").rename(tmp_path / "moved")
    run = plan(table, tmp_path / "moved", data, "s-alpha-alpha-0.5")
    outcome = run_all([run], Launch(), lambda line: None, in_this_process)
    assert outcome.finished and run.state() == "finished"
    logs = "".join(path.read_text() for path in sorted(run.folder.rglob("*.log")))
    assert len(re.findall(r"Epoch\(train\)\s+\[1\]\[2/2\]", logs)) == 1
    assert len(re.findall(r"Epoch\(train\)\s+\[2\]\[2/2\]", logs)) == 1
    result = result_of(run)
    assert result["iterations"] == 4 and result["seed"] == 0
    assert result["wall_time_s"] > before["fpn_necks_wall_time_s"] > 0
    assert 0 <= result["metrics"]["coco/bbox_mAP"] <= 1
    assert result["learning_rates"] == pytest.approx([result["learning_rate"]])
    assert result["learning_rate"] == pytest.approx(0.01 * 2 / 16)
    assert result["versions"]["torch"] == torch.__version__


def test_the_last_evaluation_is_made_up_for(
    table: Table, data: Path, tmp_path: Path
) -> None:
    """As after an interruption between the last checkpoint and its evaluation."""
    run = plan(
        table, tmp_path, data, "fpn", **{"train_cfg.val_interval": 5,
                                         "train_cfg.max_epochs": 1}
    )  # fmt: skip
    assert run_all([run], Launch(), lambda line: None, in_this_process).finished
    first = result_of(run)
    assert "coco/bbox_mAP" in first["metrics"]
    (run.folder / "result.json").unlink()
    assert run_all([run], Launch(), lambda line: None, in_this_process).finished
    second = result_of(run)
    assert second["metrics"] == first["metrics"]
    assert second["parameters_sha256"] == first["parameters_sha256"]


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with worker.alone_in(tmp_path):
        with pytest.raises(RuntimeError, match="another run is going on in"):
            with worker.alone_in(tmp_path):
                pass
    with worker.alone_in(tmp_path):
        pass


@pytest.mark.long
def test_two_processes_train_the_same_parameters(
    table: Table, data: Path, tmp_path: Path
) -> None:
    request = Request(
        tmp_path,
        overrides=small_options(data) | {"train_cfg.max_epochs": 20},
        launch=Launch("pytorch", gpus=2),
    )
    (run,) = plan_runs(table, choose_rows(table, ["fpn"]), request)
    outcome = run_all([run], request.launch, lambda line: None)
    assert outcome.finished, (run.folder / "output.txt").read_text()[-3000:]
    result = result_of(run)
    assert result["iterations"] == 20 and result["world_size"] == 2
    assert len(result["parameters_sha256"]) == 2
    assert len(set(result["parameters_sha256"])) == 1
    assert result["batch_size"] == 4
    assert result["learning_rates"] == pytest.approx([0.01 * 4 / 16])
    # It has learned: the digest is not that of the initial weights.
    first = read_checkpoint(run.folder / "epoch_1.pth")["state_dict"]
    last = read_checkpoint(run.folder / "epoch_20.pth")["state_dict"]
    key = "bbox_head.retina_cls.weight"
    assert not torch.equal(first[key], last[key])


FAKE_SRUN = """#!{python}
import os, subprocess, sys
words = sys.argv[1:]
tasks = next(int(w.split("=")[1]) for w in words if w.startswith("--ntasks="))
start = words.index("-u")
children = []
for rank in range(tasks):
    slurm = dict(SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank),
                 SLURM_NTASKS=str(tasks), SLURM_NODELIST="here")
    children.append(subprocess.Popen([sys.executable, *words[start:]],
                                     env={{**os.environ, **slurm}}))
sys.exit(max(abs(child.wait()) for child in children))
"""


@pytest.mark.long
def test_slurm_without_a_gpu(
    table: Table, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "srun").write_text(FAKE_SRUN.format(python=sys.executable))
    (tools / "scontrol").write_text("#!/bin/sh\necho localhost\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MASTER_PORT", free_port())
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    request = Request(
        tmp_path / "work",
        overrides=small_options(data) | {"train_cfg.max_epochs": 1},
        launch=Launch("slurm", gpus=2),
    )
    (run,) = plan_runs(table, choose_rows(table, ["fpn"]), request)
    outcome = run_all([run], request.launch, lambda line: None)
    assert outcome.finished, (run.folder / "output.txt").read_text()[-3000:]
    assert result_of(run)["world_size"] == 2


def free_port() -> str:
    code = (
        "import socket; s = socket.socket(); s.bind(('', 0)); print(s.getsockname()[1])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return found.stdout.strip()
