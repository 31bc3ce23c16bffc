"""Starts processes as users do, with torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch


def torchrun(processes: int, *words: str, timeout: float = 900) -> str:
    """Run a module in several processes; return what they have printed.

    Args:
        processes: how many.
        words: ``-m``, the module and its arguments.
        timeout: seconds; a process that waits for ever is an error.

    Raises:
        AssertionError: if a process has failed in the end.
        subprocess.TimeoutExpired: if they take too long.
    """
    process = subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run",
            f"--nproc-per-node={processes}", "--standalone", *words,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun passes it on to its processes
        process.communicate(timeout=60)
        raise
    assert process.returncode == 0, output[-5000:]
    return output


def run_tasks(folder: Path, processes: int, tasks: list[str]) -> None:
    """Let processes do the tasks of ``tests.distributed.worker``; see ``found_in``."""
    torchrun(processes, "-m", "tests.distributed.worker", str(folder), *tasks)


def found_in(folder: Path, processes: int, task: str) -> list[Any]:
    """Return what each process has found in a task."""
    files = [folder / f"{task}.{rank}.pth" for rank in range(processes)]
    return [torch.load(file, weights_only=False) for file in files]
