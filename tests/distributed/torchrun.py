"""Starts processes as users do, with torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

# Since 2.5 torchrun's processes share its store, from which those of a new start may
# read addresses of the last one: they fail to connect, or wait for ever
# (https://github.com/pytorch/pytorch/issues/135712).
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def torchrun(
    processes: int, *words: str, max_restarts: int = 0, timeout: float = 900
) -> str:
    """Run a module in several processes; return what they have printed.

    Args:
        processes: how many.
        words: ``-m``, the module and its arguments.
        max_restarts: how often all start again when one has failed.
        timeout: seconds; a process that waits for ever is an error.

    Raises:
        AssertionError: if a process has failed in the end.
        subprocess.TimeoutExpired: if they take too long.
    """
    process = subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run",
            f"--nproc-per-node={processes}", f"--max-restarts={max_restarts}",
            "--standalone", *words,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1", **OWN_STORE},
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
