"""Order, shares of the time, and processes that die or hang."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from fpn_necks.gpu_checks import working
from fpn_necks.gpu_checks.outcomes import CheckFailed, Outcome, Unsupported
from fpn_necks.gpu_checks.planning import Unit
from fpn_necks.gpu_checks.running import LINES, append_line, run_in_processes
from fpn_necks.gpu_checks.working import work

CPU = torch.device("cpu")


def unit(check: str, subject: str, run=dict) -> Unit:
    return Unit(check, subject, run)


def do_all(units: list[Unit], seconds: float = 60, minutes: float = 1) -> list[tuple]:
    lines: list[dict] = []
    work(units, CPU, time.time() + seconds, minutes, lines.append)
    assert all(a["begin"] for a in lines[::2])  # said before it is done
    return [(o["check"], o["subject"], o["state"], o["detail"]) for o in lines[1::2]]


def raises(error: Exception):
    def run() -> dict:
        raise error

    return run


def test_a_failing_check_stops_no_other() -> None:
    units = [
        unit("parity", "a", raises(CheckFailed("off by 1", dict(error=1.0)))),
        unit("parity", "b", raises(Unsupported("no such operator"))),
        unit("parity", "c", raises(torch.cuda.OutOfMemoryError("CUDA out of memory"))),
        unit("compile", "d"),
    ]
    assert do_all(units) == [
        ("parity", "a", "failed", "off by 1"),
        ("parity", "b", "unsupported", "no such operator"),
        ("parity", "c", "failed", "OutOfMemoryError: CUDA out of memory"),
        ("compile", "d", "passed", ""),
    ]


def test_what_takes_its_part_of_the_time_waits() -> None:
    def slow() -> dict:
        time.sleep(0.06)
        return {}

    units = [unit("compile", str(i), slow) for i in range(3)] + [unit("golden", "last")]
    # 0.2 of 0.003 minutes are 36 ms: the first takes them all.
    order = [subject for _, subject, _, _ in do_all(units, minutes=0.003)]
    assert order == ["0", "last", "1", "2"]
    assert do_all(units, seconds=-1) == []


def test_a_broken_device_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "still_computes", lambda device: False)
    units = [unit("parity", "a", raises(RuntimeError("illegal"))), unit("parity", "b")]
    lines: list[dict] = []
    assert not work(units, CPU, time.time() + 9, 1, lines.append)
    assert [line["state"] for line in lines if "state" in line] == ["failed"]


WORKER = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
task = json.loads((folder / "task.json").read_text())
def write(line):
    with (folder / "outcomes.jsonl").open("a") as file:
        file.write(json.dumps(line) + chr(10))
for check, subject in task["todo"]:
    write(dict(begin=[check, subject]))
    if subject == "dies":
        os.abort()
    if subject == "hangs":
        time.sleep(60)
    write(dict(check=check, subject=subject, state="passed"))
    if subject == "breaks the device":
        sys.exit(3)
"""


def run(folder: Path, subjects: list[str], program: str = WORKER, minutes: float = 1):
    keys = [("parity", subject) for subject in subjects]
    command = [sys.executable, "-c", program, str(folder)]
    outcomes = run_in_processes(keys, command, folder, {}, minutes, unit_seconds=1.5)
    return {o.subject: (o.state, o.detail) for o in outcomes}


def test_a_process_that_dies_or_hangs_costs_one_check(tmp_path: Path) -> None:
    subjects = ["a", "dies", "b", "breaks the device", "hangs", "c"]
    found = run(tmp_path, subjects)
    for subject in ("a", "b", "breaks the device", "c"):
        assert found[subject] == ("passed", "")
    assert found["dies"][0] == found["hangs"][0] == "failed"
    assert "SIGABRT" in found["dies"][1]
    assert "did not finish within 1.5 s" in found["hangs"][1]


def test_a_process_that_cannot_start(tmp_path: Path) -> None:
    found = run(tmp_path, ["a", "b"], "import no_such_library")
    assert {state for state, _ in found.values()} == {"not run"}
    assert "exit status 1; see log.txt" in found["a"][1]
    assert "no_such_library" in (tmp_path / "log.txt").read_text()


def test_what_was_not_reached_is_said(tmp_path: Path) -> None:
    assert run(tmp_path, ["a"], minutes=0) == {
        "a": ("not run", "the time of 0 minutes was over")
    }


def test_numbers_that_json_has_not(tmp_path: Path) -> None:
    append_line(
        tmp_path / LINES,
        Outcome("parity", "a", "failed", "", dict(error=float("nan"))).to_json(),
    )
    assert json.loads((tmp_path / LINES).read_text())["numbers"] == {"error": None}
    with pytest.raises(ValueError, match="state must be one of"):
        Outcome("parity", "a", "good")
