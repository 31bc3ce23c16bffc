"""Running the probe in a process of its own and reading what it reports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Facts = Mapping[str, Mapping[str, Any]]

_PROBE_SECONDS = 300  # a cold disk needs most of a minute for torch


def gather_facts(timeout: float = _PROBE_SECONDS) -> dict[str, dict[str, Any]]:
    """Run the probe in a process of its own.

    Args:
        timeout: Seconds after which the probe is ended.

    Returns:
        Step -> its facts. Under ``died``, if the process did not reach its end: the
        ``step`` it was in, ``how`` it ended, and the last lines it wrote.
    """
    probe = Path(__file__).with_name("probe.py")
    # By -c, so that sys.path begins with the working directory as it does for
    # `python -m`; a script's own folder would hide libraries behind our sub-packages.
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        command = [sys.executable, "-c", code, str(probe), str(report)]
        with Path(folder, "output").open("w+b") as output:
            try:
                status = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=timeout,
                ).returncode
                how = _how_it_ended(status)
            except subprocess.TimeoutExpired:
                status, how = 1, f"did not finish within {timeout:g} s"
            output.seek(0)
            text = output.read().decode(errors="replace")
        lines = report.read_text(encoding="utf-8") if report.exists() else ""
    facts, unfinished = _read_report(lines)
    if status != 0 or unfinished is not None or not lines:
        last_lines = [line for line in text.splitlines() if line.strip()][-3:]
        facts["died"] = {
            "step": unfinished or "the probe itself",
            "how": how,
            "output": " | ".join(last_lines),
        }
    return facts


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"


def _read_report(lines: str) -> tuple[dict[str, dict[str, Any]], str | None]:
    # The step that was begun and not finished is the one the process died in.
    facts: dict[str, dict[str, Any]] = {}
    unfinished = None
    for line in lines.splitlines():
        entry = json.loads(line)
        if "begin" in entry:
            unfinished = entry["begin"]
        else:
            facts[entry.pop("step")] = entry
            unfinished = None
    return facts, unfinished
