"""Starts processes as users do, with torchrun, and ends them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed


def torchrun(processes: int, *arguments: str | Path) -> None:
    """Run a script, or ``-m MODULE``, in processes; each of them must succeed."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run",
            f"--nproc-per-node={processes}", "--standalone", *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=900)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun passes it on to its processes
        process.communicate(timeout=60)
        raise
    assert process.returncode == 0, output[-5000:]


def found_in(folder: Path, processes: int, task: str) -> list[Any]:
    """Return what each process of ``tests.distributed.worker`` found in a task."""
    files = [folder / f"{task}.{rank}.pth" for rank in range(processes)]
    return [torch.load(file, weights_only=False) for file in files]


def leave_group() -> None:
    """Leave the group of processes when all of them are ready to.

    Without it a process of gloo may end by SIGABRT: a thread of gloo lets go of a
    tensor after it has woken whoever waits for it, and is ended with its process if
    Python is shutting down by then. DDP keeps these threads alive beyond the group.
    """
    distributed.barrier()
    distributed.destroy_process_group()
    time.sleep(0.5)  # nothing tells when a thread is done
