"""What goes wrong in the processes of a training, and how it stays comparable."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook


def _end_once(marker: Path) -> None:
    """Kill this process, as a system without memory does, unless it has happened."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class KillHook(Hook):
    """Kills a process before a step, once.

    Args:
        step: of the whole training, from 0.
        rank: of the process.
        marker: file that says that it has happened.
    """

    def __init__(self, step: int, rank: int, marker: str) -> None:
        self.step = step
        self.rank = rank
        self.marker = Path(marker)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if (runner.iter, runner.rank) == (self.step, self.rank):
            _end_once(self.marker)


class HalfWritingBackend(LocalBackend):
    """Is killed in the middle of a file, once.

    Args:
        file_name: of the file.
        marker: file that says that it has happened.
    """

    def __init__(self, file_name: str, marker: str) -> None:
        self.file_name = file_name
        self.marker = Path(marker)

    def put(self, obj: bytes, filepath: str | Path) -> None:
        if Path(filepath).name == self.file_name and not self.marker.exists():
            super().put(obj[: len(obj) // 2], filepath)
            _end_once(self.marker)
        super().put(obj, filepath)


register_backend("half-writing", HalfWritingBackend, force=True)


@HOOKS.register_module()
class ReseedHook(Hook):
    """Draws what a step needs from the step's own seed.

    mmengine's checkpoints have no state of random numbers: a resumed training draws
    others than one that was not interrupted, and could not be compared with it.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner) -> None:
        self._seed(runner.iter)

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        # The next batch is loaded before ``before_train_iter``.
        self._seed(runner.iter + 1)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self._seed(runner.iter)

    def _seed(self, step: int) -> None:
        seed = 1000 * step + get_rank()
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
