"""Runs the rows of a table one after the other, each in processes of its own.

A row that runs out of memory or crashes takes no other along, and what is finished
stays finished.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .comparability import kinds
from .planning import CONFIG_FILE, RESULT_FILE, RUN_FILE, Launch, Run
from .results import write_json, write_text

OUTPUT_FILE = "output.txt"
_ERROR = re.compile(r"^(?:\[rank\d+\]:\s*)?((?:\w+\.)*\w*(?:Error|Exception)\b.*)$")
_PATIENCE = 30.0  # seconds that interrupted processes get to end by themselves

Execute = Callable[[Sequence[str], Path], int]


@dataclass
class Outcome:
    """What became of the runs.

    Attributes:
        finished: Labels of the runs that are finished, also from earlier.
        failed: Label and reason of those that failed.
        interrupted: Label of the run that was going on when the user stopped.
    """

    finished: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: str | None = None


def execute(command: Sequence[str], output: Path) -> int:
    """Run a command; what it prints is appended to a file.

    On an interruption the command gets time to end: from a terminal it has had the
    signal as well, and launchers end their own processes.

    Args:
        command: Program and arguments.
        output: File to append to.

    Returns:
        The exit status, negative if a signal ended it.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        return _wait(command, file)


def _wait(command: Sequence[str], file: IO[str]) -> int:
    process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        return process.wait()
    except BaseException:
        for end, patience in ((process.terminate, _PATIENCE), (process.kill, None)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2.0)
                break
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
                break
        raise


def run_all(
    runs: Sequence[Run],
    launch: Launch,
    say: Callable[[str], None] = print,
    execute: Execute = execute,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train and test what is not finished.

    Args:
        runs: In order.
        launch: How their processes are started.
        say: Gets one line per event.
        execute: Runs a command with its output in a file; returns its exit status.
        clock: Seconds, for the expected remaining time.

    Returns:
        What became of them.

    Raises:
        ValueError: If a folder holds a run of another configuration; before anything
            is started.
    """
    for run in runs:
        run.check_folder()
    outcome = Outcome()
    durations: list[float] = []
    seeds = {run.facts["seed"] for run in runs}
    # Beside the table's rows there may be seeds, and trainings that rows start from.
    only_rows = len(seeds) == 1 and all(run.facts.get("row") for run in runs)
    word = "row" if only_rows else "run"
    left = sum(run.state() != "finished" for run in runs)
    for number, run in enumerate(runs, 1):
        name = f"{run.label}, seed {run.facts['seed']}" if len(seeds) > 1 else run.label
        state = run.state()
        head = f"{word} {number} of {len(runs)}: {name}"
        counts = f"{len(outcome.finished)} finished, {len(outcome.failed)} failed"
        if state == "finished":
            say(f"{head}: finished before; {counts}")
            outcome.finished.append(name)
            continue
        again = ", goes on from its last checkpoint" if state == "interrupted" else ""
        rest = _expected(durations, left)
        say(f"{head}{again}; {counts}{rest}\n  output: {run.folder / OUTPUT_FILE}")
        start = clock()
        try:
            reason = run_one(run, launch, execute)
        except KeyboardInterrupt:
            outcome.interrupted = name
            return outcome
        durations.append(clock() - start)
        left -= 1
        if reason is None:
            outcome.finished.append(name)
        else:
            outcome.failed.append((name, reason))
            say(f"  failed: {reason}")
    return outcome


def run_from_command_line(runs: Sequence[Run], launch: Launch) -> int:
    """Train and test what is not finished, and say how it ended.

    A signal to terminate, by which clusters end jobs, is taken as Ctrl-C is: the
    running process must not go on alone.

    Returns:
        The exit status: 0, 1 if a run failed, 130 if they were interrupted.

    Raises:
        ValueError: As ``run_all``.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    outcome = run_all(runs, launch, say=lambda line: print(line, flush=True))
    if outcome.interrupted:
        print(
            f"interrupted in '{outcome.interrupted}'; the same command goes on from "
            "the last checkpoint",
            file=sys.stderr,
        )
        return 130
    print(f"{len(outcome.finished)} finished, {len(outcome.failed)} failed")
    for name, reason in outcome.failed:
        print(f"error: {name}: {reason}", file=sys.stderr)
    return 1 if outcome.failed else 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def run_one(run: Run, launch: Launch, execute: Execute = execute) -> str | None:
    """Write a run's config and start it.

    Returns:
        Why it failed, None if it has a result.
    """
    start_from = run.config.get("load_from")
    if run.facts.get("row") and run.facts["options"].get("load_from") == start_from:
        if start_from and "://" not in start_from and not Path(start_from).is_file():
            return f"it starts from {start_from}, which is missing"
    config = run.folder / CONFIG_FILE
    if launch.is_main_node:
        write_text(config, run.config.pretty_text)
        # Last: a folder without this file has not been started.
        if not (run.folder / RUN_FILE).is_file():
            write_json(run.folder / RUN_FILE, run.facts)
    output = run.folder / OUTPUT_FILE
    # What an earlier start printed is no reason of this one's failure.
    begin = output.stat().st_size if output.is_file() else 0
    status = execute(launch.command(config, run.folder.parent.name), output)
    if status == 0 and (run.folder / RESULT_FILE).is_file():
        return None
    if status == 0 and not launch.is_main_node:
        return None
    return _reason(status, output, begin)


def _reason(status: int, output: Path, begin: int) -> str:
    text = ""
    if output.is_file():
        text = output.read_bytes()[begin:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # torchrun reports the failure of its processes as an error of its own.
    errors = [m[1] for line in lines if (m := _ERROR.match(line))]
    errors = [line for line in errors if "ChildFailedError" not in line]
    if errors:
        return errors[-1]
    if status < 0:
        memory = "; the system may have run out of memory" if status == -9 else ""
        return f"ended by signal {-status}{memory}"
    return f"exit status {status}; the end of {output} says more"


def _expected(durations: Sequence[float], left: int) -> str:
    if not durations:
        return ""
    return f", about {_words(sum(durations) / len(durations) * left)} left"


def _words(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    if hours >= 2:
        return f"{hours:.0f} h"
    return f"{minutes} min" if minutes >= 2 else f"{seconds:.0f} s"


def describe(run: Run, launch: Launch) -> list[str]:
    """Say what would be run, without writing anything; lines for ``--dry-run``.

    The user's own options are the same for all rows and are not repeated.
    """
    facts = run.facts
    lines = [f"state: {run.state()}", f"config: {facts['config']}"]
    lines += [f"option: {key}={value!r}" for key, value in facts["options"].items()]
    processes = (
        "1 process" if launch.world_size == 1 else f"{launch.world_size} processes"
    )
    lines.append(f"batch: {facts['batch_size']} on {processes}")
    rate = facts["learning_rate"]
    if rate is not None:
        how = "as in the config"
        scaled = facts["batch_size"] != facts["base_batch_size"]
        if facts["learning_rate_scaled"] and scaled:
            how = (
                f"{facts['config_learning_rate']:g} scaled from batch "
                f"{facts['base_batch_size']} to {facts['batch_size']}"
            )
        lines.append(f"learning rate: {rate:g} ({how})")
    if facts["deviations"]:
        lines.append(f"not comparable: {kinds(facts['deviations'])}")
    config = run.folder / CONFIG_FILE
    lines.append(f"command: {' '.join(launch.command(config, run.folder.parent.name))}")
    return lines
