"""Runs the checks in a process of their own, and goes on where one has died."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fpn_necks.reproduction.results import plain, write_json

from .outcomes import FAILED, NOT_RUN, Outcome
from .working import BROKEN

LINES, TASK, LOG = "outcomes.jsonl", "task.json", "log.txt"
UNIT_SECONDS = 300.0
START_SECONDS = 180.0
Key = tuple[str, str]


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append a line of json, whole and at once."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain(line), ensure_ascii=False) + "\n")


def read_lines(path: Path) -> tuple[list[Outcome], Key | None]:
    """Read what was written so far.

    Returns:
        The outcomes, and the check that has begun and has none.
    """
    outcomes: list[Outcome] = []
    begun: Key | None = None
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # not whole yet
        fields = json.loads(line)
        if "begin" in fields:
            begun = tuple(fields["begin"])
        else:
            outcomes.append(Outcome(**fields))
            begun = None
    return outcomes, begun


def run_in_processes(
    keys: Sequence[Key],
    command: Sequence[str],
    folder: Path,
    task: dict[str, Any],
    minutes: float,
    progress: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
    unit_seconds: float = UNIT_SECONDS,
) -> list[Outcome]:
    """Do checks in processes, one after the other, until all are done or time is over.

    A process that dies, or that hangs in a check, costs that one check.

    Args:
        keys: all checks, in order.
        command: starts a process that reads ``task.json`` in ``folder``: ``task``,
            ``todo`` (keys), ``deadline`` (``time.time``) and ``spent``; and that
            appends to ``outcomes.jsonl``. Exit status 0: done, ``BROKEN``: go on in
            another process.
        folder: exists; also gets the processes' output, ``log.txt``.
        task: further entries of the task.
        minutes: from now on; nothing begins afterwards.
        progress: is told all outcomes whenever there are more.
        unit_seconds: after which a check counts as hanging.

    Returns:
        An outcome for each key, in the order in which they came about.
    """
    lines = folder / LINES
    deadline = time.time() + 60 * minutes
    while time.time() < deadline:
        outcomes, _ = read_lines(lines)
        done = {(o.check, o.subject) for o in outcomes}
        todo = [key for key in keys if key not in done]
        if not todo:
            break
        spent: dict[str, float] = {}
        for outcome in outcomes:
            spent[outcome.check] = spent.get(outcome.check, 0.0) + outcome.seconds
        write_json(
            folder / TASK,
            {**task, "todo": todo, "deadline": deadline, "spent": spent},
        )
        how = _watch(command, folder, progress, unit_seconds)
        after, begun = read_lines(lines)
        if begun is not None:
            append_line(lines, Outcome(*begun, FAILED, how).to_json())
        elif how != "" and len(after) == len(outcomes):
            return _finish(lines, keys, f"the process that checks: {how}")
        elif how == "":
            break
    return _finish(lines, keys, f"the time of {minutes:g} minutes was over")


def _finish(lines: Path, keys: Sequence[Key], reason: str) -> list[Outcome]:
    outcomes, _ = read_lines(lines)
    done = {(outcome.check, outcome.subject) for outcome in outcomes}
    return outcomes + [
        Outcome(*key, NOT_RUN, reason) for key in keys if key not in done
    ]


def _watch(
    command: Sequence[str],
    folder: Path,
    progress: Callable[[Sequence[Outcome]], None],
    unit_seconds: float,
) -> str:
    """Run one process to its end; return how it ended, nothing if as it should."""
    lines = folder / LINES
    size = lines.stat().st_size if lines.exists() else 0  # before it can write
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [*command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # compilers are its children
        )
    since = time.monotonic()
    started = False
    try:
        while process.poll() is None:
            time.sleep(0.2)
            now = lines.stat().st_size if lines.exists() else 0
            if now != size:
                started = True
                size, since = now, time.monotonic()
                progress(read_lines(lines)[0])
            limit = unit_seconds if started else START_SECONDS + unit_seconds
            if time.monotonic() - since > limit:
                return f"it did not finish within {limit:g} s and was ended"
    finally:
        _end(process)
        progress(read_lines(lines)[0])
    if process.returncode in (0, BROKEN):
        return "" if process.returncode == 0 else "the device no longer computed"
    return f"the process died of {_cause(process.returncode)}; see {LOG}"


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # the group of this one process
        process.wait()


def _cause(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
