"""Runs one after the other: what is skipped, resumed, failed, interrupted."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Timer

import pytest
from mmengine.config import Config

from fpn_necks.reproduction import Table
from fpn_necks.reproduction.planning import Launch, Request, Run, choose_rows, plan_runs
from fpn_necks.reproduction.results import write_json
from fpn_necks.reproduction.running import describe, execute, run_all
from tests.reproduction.tiny_table import tiny_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return tiny_table(tmp_path_factory.mktemp("running"))


def plan(table: Table, folder: Path, **request) -> list[Run]:
    return plan_runs(table, choose_rows(table, None), Request(folder, **request))


class Machine:
    """Stands for the processes: writes results, fails or is interrupted by plan."""

    def __init__(self, **effects: int | type[BaseException] | str) -> None:
        self.effects = effects
        self.started: list[Path] = []
        self.now = 0.0

    def __call__(self, command: Sequence[str], output: Path) -> int:
        config = Path(command[3])
        self.started.append(config.parent)
        self.now += 600.0
        Config.fromfile(config)  # a config that can be read is there
        effect = self.effects.get(config.parent.parent.name.replace("-", "_"), 0)
        if isinstance(effect, str):
            output.write_text(effect)
            return 1
        if not isinstance(effect, int):
            raise effect
        if effect == 0:
            facts = json.loads((config.parent / "run.json").read_text())
            write_json(config.parent / "result.json", facts | dict(metrics={}))
        return effect

    def run(self, runs: list[Run]):
        said: list[str] = []
        outcome = run_all(runs, Launch(), said.append, self, lambda: self.now)
        return outcome, said


def test_progress_and_what_is_finished(table: Table, tmp_path: Path) -> None:
    runs = plan(table, tmp_path)
    machine = Machine()
    outcome, said = machine.run(runs)
    assert outcome.finished == ["FPN", "S-α, α = 0.5"] and not outcome.failed
    assert said[0].startswith("row 1 of 2: FPN; 0 finished, 0 failed\n")
    assert said[1].startswith(
        "row 2 of 2: S-α, α = 0.5; 1 finished, 0 failed, about 10 min left\n"
    )
    assert all(run.state() == "finished" for run in runs)
    again = Machine()
    outcome, said = again.run(plan(table, tmp_path))
    assert again.started == [] and len(outcome.finished) == 2
    assert said[1].endswith("finished before; 1 finished, 0 failed")


def test_seeds_are_told_apart(table: Table, tmp_path: Path) -> None:
    outcome, said = Machine().run(plan(table, tmp_path, seeds=(0, 1)))
    assert len(outcome.finished) == 4
    assert said[2].startswith("run 3 of 4: FPN, seed 1; 2 finished, 0 failed, about 20")


def test_a_failed_row_does_not_stop_the_others(table: Table, tmp_path: Path) -> None:
    trace = "Traceback\n  File x\ntorch.OutOfMemoryError: CUDA out of memory\nbye\n"
    machine = Machine(fpn=trace)
    outcome, said = machine.run(plan(table, tmp_path))
    reason = "torch.OutOfMemoryError: CUDA out of memory"
    assert outcome.failed == [("FPN", reason)]
    assert outcome.finished == ["S-α, α = 0.5"]
    assert f"  failed: {reason}" in said
    assert "0 finished, 1 failed" in said[2]
    # Started again, it is tried again; the other one is not.
    again = Machine()
    outcome, said = again.run(plan(table, tmp_path))
    assert [folder.parent.name for folder in again.started] == ["fpn"]
    assert "goes on from its last checkpoint" in said[0]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(-9, "ended by signal 9; the system may have run out of memory"),
     (-11, "ended by signal 11"), (3, "exit status 3; the end of")],
)  # fmt: skip
def test_reasons_without_a_trace(
    table: Table, tmp_path: Path, status: int, reason: str
) -> None:
    outcome, _ = Machine(fpn=status).run(plan(table, tmp_path))
    assert outcome.failed[0][1].startswith(reason)


def test_interruption_keeps_what_is_done(table: Table, tmp_path: Path) -> None:
    machine = Machine(**{"s_alpha_alpha_0.5": KeyboardInterrupt})
    outcome, _ = machine.run(plan(table, tmp_path))
    assert outcome.interrupted == "S-α, α = 0.5" and outcome.finished == ["FPN"]
    states = [run.state() for run in plan(table, tmp_path)]
    assert states == ["finished", "interrupted"]


def test_another_configuration_is_refused_before_anything_runs(
    table: Table, tmp_path: Path
) -> None:
    Machine(fpn=1).run(plan(table, tmp_path)[:1])
    runs = plan(table, tmp_path, overrides={"train_cfg.max_epochs": 5})
    machine = Machine()
    with pytest.raises(ValueError, match="FPN: .*train_cfg.max_epochs 12 -> 5"):
        machine.run([runs[1], runs[0]])
    assert machine.started == []


def test_a_row_without_the_weights_it_starts_from(table: Table, tmp_path: Path) -> None:
    run = plan(table, tmp_path)[0]
    run.config.load_from = run.facts["options"]["load_from"] = str(tmp_path / "w.pth")
    machine = Machine()
    outcome, _ = machine.run([run])
    assert "w.pth, which is missing" in outcome.failed[0][1]
    assert machine.started == []


def test_a_dry_run_writes_nothing(table: Table, tmp_path: Path) -> None:
    run = plan(table, tmp_path, overrides={"train_cfg.max_epochs": 5})[1]
    text = "\n".join(describe(run, Launch()))
    assert "option: model.neck.fusion_factor=0.5" in text
    assert "batch: 2 on 1 process\n" in text
    assert "learning rate: 0.00125 (0.01 scaled from batch 16 to 2)" in text
    assert "not comparable: schedule" in text
    assert "-m fpn_necks.reproduction.worker" in text
    assert not any(tmp_path.iterdir())


def test_execute_keeps_the_output_and_the_status(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    assert execute([sys.executable, "-c", code], output) == 3
    assert execute([sys.executable, "-c", "print('again')"], output) == 0
    lines = output.read_text().splitlines()
    assert {"out", "err", "again"} <= set(lines) and lines[0].startswith("$ ")


def test_an_interruption_ends_the_child(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
    # Only this process gets it, as from kill; from a terminal the child does as well.
    Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        execute([sys.executable, "-c", code], output)
    (pid,) = [int(line) for line in output.read_text().splitlines() if line.isdigit()]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
