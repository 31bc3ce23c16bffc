"""Runs of rows: what is planned, skipped, resumed, failed, interrupted and refused."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from threading import Timer
from unittest import mock

import pytest
import torch
from mmengine.config import Config

from fpn_necks.checkpoints import read_checkpoint
from fpn_necks.reproduction import Table, find_table
from fpn_necks.reproduction import run as running
from fpn_necks.reproduction.plan import (
    CONFIG_FILE,
    RESULT_FILE,
    Run,
    choose_rows,
    plan_runs,
)
from fpn_necks.reproduction.run import Launch, execute_command, run_all
from tests.reproduction.tiny_table import in_this_process, small_options, tiny_table
from tests.tiny_sets import write_coco_set


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return tiny_table(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_coco_set(folder, num_images=4)
    return folder


def plan(
    table: Table, folder: Path, rows: list[str] | None = None, **given
) -> list[Run]:
    return plan_runs(table, choose_rows(table, rows), folder, **given)


def start(
    runs: list[Run], execute: Callable[[Sequence[str], Path], int]
) -> tuple[dict[str, str], list[str]]:
    """Run with something in the place of processes; return failures and lines."""
    said = io.StringIO()
    with mock.patch.object(running, "execute_command", execute), redirect_stdout(said):
        return run_all(runs, Launch()), said.getvalue().splitlines()


class Machine:
    """Stands for the processes: writes logs, fails or is interrupted by plan."""

    def __init__(self, **effects: int | type[BaseException] | str) -> None:
        self.effects = effects
        self.started: list[Path] = []

    def __call__(self, command: Sequence[str], output: Path) -> int:
        folder = output.parent
        self.started.append(folder)
        output.touch()
        Config.fromfile(folder / CONFIG_FILE)  # a config that can be read is there
        effect = self.effects.get(folder.parent.name.replace("-", "_"), 0)
        if isinstance(effect, str):
            output.write_text(effect)
            return 1
        if not isinstance(effect, int):
            raise effect
        if effect == 0:
            log = folder / "20260101_000000" / "vis_data" / "scalars.json"
            log.parent.mkdir(parents=True)
            log.write_text(
                '{"iter": 9, "loss": 1}\n{"coco/bbox_mAP": 0.3, "step": 1}\n'
            )
        return effect

    def run(self, runs: list[Run]) -> tuple[dict[str, str], list[str]]:
        return start(runs, self)


# ------------------------------------------------------------------------ the contract


def test_what_is_finished_is_skipped(table: Table, tmp_path: Path) -> None:
    runs = plan(table, tmp_path, seeds=(0, 1))
    failed, said = Machine().run(runs)
    assert not failed and said[0].startswith("1 of 4: FPN, seed 0; output: ")
    assert all(run.state() == "finished" for run in runs)
    result = json.loads((runs[0].folder / RESULT_FILE).read_text())
    assert result["metrics"] == {"coco/bbox_mAP": 0.3} and result["seed"] == 0
    assert result["versions"]["torch"] == torch.__version__
    again = Machine()
    failed, said = again.run(plan(table, tmp_path, seeds=(0, 1)))
    assert again.started == [] and not failed
    assert said[3] == "4 of 4: S-α, α = 0.5, seed 1: finished before"


def test_a_failed_row_does_not_stop_the_others(table: Table, tmp_path: Path) -> None:
    trace = "Traceback\n  File x\n[rank1]: torch.OutOfMemoryError: CUDA out of memory\n"
    failed, said = Machine(fpn=trace).run(plan(table, tmp_path))
    reason = "torch.OutOfMemoryError: CUDA out of memory"
    assert failed == {"FPN, seed 0": reason} and f"  failed: {reason}" in said
    # Started again, it is tried again; the other one is not.
    again = Machine()
    _, said = again.run(plan(table, tmp_path))
    assert [folder.parent.name for folder in again.started] == ["fpn"]
    assert said[0].startswith("1 of 2: FPN, seed 0 resumes; ")


@pytest.mark.parametrize(
    ("status", "reason"),
    [(-9, "ended by signal 9"), (3, "exit status 3; the end of")],
)
def test_reasons_without_a_trace(
    table: Table, tmp_path: Path, status: int, reason: str
) -> None:
    failed, _ = Machine(fpn=status).run(plan(table, tmp_path))
    assert failed["FPN, seed 0"].startswith(reason)


def test_interruption_keeps_what_is_done(table: Table, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Machine(**{"s_alpha_alpha_0.5": KeyboardInterrupt}).run(plan(table, tmp_path))
    states = [run.state() for run in plan(table, tmp_path)]
    assert states == ["finished", "interrupted"]


def test_another_configuration_is_refused_before_anything_runs(
    table: Table, tmp_path: Path
) -> None:
    Machine(fpn=1).run(plan(table, tmp_path)[:1])
    runs = plan(table, tmp_path, options={"train_cfg.max_epochs": 5})
    machine = Machine()
    with pytest.raises(ValueError, match="FPN: .*train_cfg.max_epochs 12 -> 5"):
        machine.run([runs[1], runs[0]])
    assert machine.started == []
    (more,) = plan(table, tmp_path, ["fpn"], world_size=2)
    with pytest.raises(ValueError, match="world_size 1 -> 2.*--work-dir"):
        more.check_folder()


def test_weights_to_start_from_must_be_there_and_safe(
    table: Table, tmp_path: Path
) -> None:
    weights, machine = tmp_path / "w.pth", Machine()
    options = {"load_from": str(weights)}
    failed, _ = machine.run(plan(table, tmp_path / "work", ["fpn"], options=options))
    assert "w.pth, which is missing" in failed["FPN, seed 0"]
    torch.save({"state_dict": print}, weights)
    failed, _ = machine.run(plan(table, tmp_path / "work", ["fpn"], options=options))
    assert "for safety" in failed["FPN, seed 0"] and machine.started == []


def test_two_runs_do_not_share_a_folder(table: Table, tmp_path: Path) -> None:
    (run,) = plan(table, tmp_path, ["fpn"])

    def start_again(command: Sequence[str], output: Path) -> int:
        failed, _ = Machine().run([run])
        assert "another run is going on in" in failed["FPN, seed 0"]
        return 0

    start([run], start_again)


# ---------------------------------------------------------------------- real trainings


def crash_in_the_second_epoch(command: Sequence[str], output: Path) -> int:
    """Train, with a machine that stops."""
    config = output.parent / CONFIG_FILE
    hook = 'custom_hooks = [dict(type="StopHook")]\n'
    config.write_text(
        config.read_text()
        + hook
        + 'custom_imports["imports"].append("tests.reproduction.stopping")\n'
    )
    return in_this_process(command, output)


def epochs_in_logs(folder: Path) -> list[int]:
    """Return how often the logs have the last step of each of the two epochs."""
    logs = "".join(path.read_text() for path in sorted(folder.rglob("*.log")))
    return [len(re.findall(rf"Epoch\(train\)\s+\[{n}\]\[2/2\]", logs)) for n in (1, 2)]


@pytest.mark.long
def test_a_run_is_interrupted_moved_and_continued(
    table: Table, data: Path, tmp_path: Path
) -> None:
    """With mmdet's own tools/train.py, and torch's safe loading of its checkpoints."""
    # What it starts from must not be resumed.
    weights = {"backbone.conv1.bias": torch.zeros(8)}
    torch.save(dict(state_dict=weights), tmp_path / "weights.pth")
    changes = {"load_from": str(tmp_path / "weights.pth")}
    rows = ["s-alpha-alpha-0.5"]
    (run,) = plan(table, tmp_path / "work", rows, options=small_options(data) | changes)
    failed, _ = start([run], crash_in_the_second_epoch)
    assert list(failed.values()) == ["RuntimeError: the machine stops"]
    assert (run.folder / "epoch_1.pth").is_file() and run.state() == "interrupted"
    (tmp_path / "work").rename(tmp_path / "moved")
    moved = tmp_path / "disk" / "set"
    shutil.copytree(data, moved)
    (run,) = plan(
        table, tmp_path / "moved", rows, options=small_options(moved) | changes
    )
    assert not start([run], in_this_process)[0]
    assert run.state() == "finished" and epochs_in_logs(run.folder) == [1, 1]
    result = json.loads((run.folder / RESULT_FILE).read_text())
    assert 0 <= result["metrics"]["coco/bbox_mAP"] <= 1
    last = read_checkpoint(run.folder / "epoch_2.pth")
    assert last["meta"]["iter"] == 4
    for group in last["optimizer"]["param_groups"]:
        assert group["initial_lr"] == pytest.approx(result["learning_rate"])
    assert result["learning_rate"] == pytest.approx(0.01 * 2 / 16)
    # Interrupted between the last checkpoint and its evaluation, it is tested.
    (run.folder / RESULT_FILE).unlink()
    assert not start([run], in_this_process)[0]
    again = json.loads((run.folder / RESULT_FILE).read_text())
    assert again["metrics"] == pytest.approx(result["metrics"])
    # It goes on from the checkpoint before a damaged one.
    (run.folder / RESULT_FILE).unlink()
    damaged = run.folder / "epoch_2.pth"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="damaged or gone; epoch_1.pth is taken"):
        assert not start([run], in_this_process)[0]
    assert epochs_in_logs(run.folder) == [1, 2]
    assert read_checkpoint(damaged)["meta"]["iter"] == 4


# ---------------------------------------------------------------------------- planning


def test_pretraining_comes_first_and_once(tmp_path: Path) -> None:
    shipped = find_table("s-alpha-table-3")
    row = next(row for row in shipped.rows if row.pretraining is not None)
    short = {"train_cfg.max_iters": 7}
    first, second = plan_runs(shipped, [row], tmp_path, pretraining_options=short)
    assert first.folder.parts[-3] == "pretraining"
    assert not first.facts["evaluate"] and second.facts["evaluate"]
    wanted = first.folder / "iter_7.pth"
    assert second.config.load_from == str(wanted.resolve())
    changes = second.facts["deviations"]
    assert any(x.startswith("pretraining: train_cfg.max_iters") for x in changes)
    twice = plan_runs(shipped, [row], tmp_path / "moved", seeds=(0, 1))
    assert len({run.folder for run in twice}) == len(twice) == 4
    assert twice[1].config.load_from.endswith("iter_45000.pth")
    # Neither the seed nor the work directory is part of what is compared.
    again = plan_runs(shipped, [row], tmp_path, data_root="/elsewhere")
    assert len({run.facts["settings"] for run in (twice[1], twice[3], again[1])}) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("another system", "is quoted: from its own paper"),
        ("FPN | distilled", "not trained here: distillation is not in this library"),
    ],
)
def test_rows_that_cannot_be_run(table: Table, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_rows(table, [name])


@pytest.mark.parametrize(
    ("processes", "scale", "rate"),
    [(1, True, 0.00125), (16, True, 0.02), (1, False, 0.01)],
)
def test_learning_rate_of_the_real_batch(
    table: Table, tmp_path: Path, processes: int, scale: bool, rate: float
) -> None:
    options = {} if scale else {"auto_scale_lr.enable": False}
    (run,) = plan(table, tmp_path, ["fpn"], world_size=processes, options=options)
    assert run.config.auto_scale_lr.enable == scale
    assert run.facts["batch_size"] == 2 * processes
    assert run.facts["learning_rate"] == pytest.approx(rate)
    changes = [] if scale else ["auto_scale_lr.enable True -> False"]
    assert run.facts["deviations"] == changes


def test_missing_data_is_named_with_its_option(table: Table, tmp_path: Path) -> None:
    (run,) = plan(table, tmp_path, ["fpn"], data_root="nowhere/coco")
    missing = run.missing_data()
    assert missing is not None
    assert missing.startswith("nowhere/coco/annotations/instances_train2017.json is ")
    assert "--data-root" in missing and "train_dataloader.dataset.data_root" in missing
    write_coco_set(tmp_path / "set", images=False)
    options = small_options(tmp_path / "set")
    options["val_evaluator.ann_file"] = "gone.json"
    (run,) = plan(table, tmp_path, ["fpn"], options=options)
    wanted = "gone.json is missing; set it with --cfg-options val_evaluator.ann_file="
    assert run.missing_data() == wanted
    # Metrics may be a list.
    metric = run.config.val_evaluator
    run.config.val_evaluator = [dict(metric, ann_file=None), metric]
    assert run.missing_data() == wanted.replace("evaluator.", "evaluator.1.")


# ------------------------------------------------------------------- starting processes


def test_commands() -> None:
    alone = Launch().command("train.py", ["config.py"], "row")
    assert alone[:2] == [sys.executable, "-u"] and alone[-1] == "config.py"
    assert Path(alone[2]).is_file() and alone[2].endswith("tools/train.py")
    several = Launch("pytorch", gpus=4).command("train.py", ["config.py"], "row")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=4"]
    assert several[1:] == [*torchrun, *alone[2:], "--launcher", "pytorch"]
    launch = Launch("slurm", gpus=8, nodes=2, srun_args="-p long")
    slurm = launch.command("train.py", ["config.py"], "row")
    assert slurm[0] == "srun" and slurm[slurm.index("-p") + 1] == "long"
    wanted = {"--ntasks=16", "--ntasks-per-node=8", "--gres=gpu:8", "--nodes=2"}
    assert wanted <= {*slurm} and launch.world_size == 16
    assert slurm[-6:] == [*alone, "--launcher", "slurm"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", 2), "2 GPUs on 1 nodes need another launcher than none"),
        (("pytorch", 2, 2), "2 GPUs on 2 nodes need another launcher than pytorch"),
        (("pytorch", 0), "must be at least 1, got 0"),
    ],
)
def test_wrong_launches(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Launch(*arguments)


def test_a_command_keeps_its_output_and_status(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    assert execute_command([sys.executable, "-c", code], output) == 3
    assert execute_command([sys.executable, "-c", "print('again')"], output) == 0
    lines = output.read_text().splitlines()
    assert {"out", "err", "again"} <= set(lines) and lines[0].startswith("$ ")


def test_an_interruption_ends_the_child(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    # A shell's background jobs ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
    # Only this process gets it, as from kill; from a terminal the child does as well.
    Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        execute_command([sys.executable, "-c", code], output)
    signal.signal(signal.SIGINT, before)
    (pid,) = [int(line) for line in output.read_text().splitlines() if line.isdigit()]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_folder_may_go_on_with_moved_data_and_other_workers(
    table: Table, tmp_path: Path
) -> None:
    Machine(fpn=1).run(plan(table, tmp_path, ["fpn"]))
    options = {
        "train_dataloader.num_workers": 7,
        "env_cfg.cudnn_benchmark": True,
        "default_hooks.checkpoint.max_keep_ckpts": 1,
        "val_evaluator.ann_file": "/disk/annotations/instances_val2017.json",
    }
    (run,) = plan(table, tmp_path, ["fpn"], options=options, data_root="/disk")
    run.check_folder()
    assert run.facts["deviations"] == []
