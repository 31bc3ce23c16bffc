"""What a training cost, measured by a hook and told with the result of the test."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

PROCESSOR_SECONDS = "cost/training_processor_s"
WALL_SECONDS = "cost/training_wall_s"
STARTS = "cost/starts"
_KEY = "fpn_necks_training_time"


class TrainingTime(Hook):
    """Measures the training loop and adds its cost to the metrics of the test.

    Entries are the seconds that this process computed, on all its threads; the seconds
    that passed; and in how many parts the run was trained, 1 unless it was interrupted.
    Loading images counts where the process does it itself (``num_workers=0``); building
    the model, counting α's statistic and testing do not. The numbers are kept in the
    checkpoints: work lost in an interruption does not count.

    mmengine finds it by its dotted name, so it is in no registry.
    """

    # Before the hooks that read the metrics of the test.
    priority = "HIGH"

    def __init__(self) -> None:
        self._before = (0.0, 0.0, 0)
        self._since: tuple[float, float] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take over what earlier starts of a run cost; the test is one of them."""
        self._before = tuple(checkpoint.get(_KEY, self._before))

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Start at the first step, when statistics are counted."""
        if self._since is None:
            self._since = (time.process_time(), time.perf_counter())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the cost so far."""
        checkpoint[_KEY] = self._total()

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop: what follows is the test."""
        self._before = self._total()
        self._since = None

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, Any] | None = None
    ) -> None:
        """Add the cost to what is logged of the test."""
        processor, wall, starts = self._before
        numbers = {PROCESSOR_SECONDS: round(processor, 1), WALL_SECONDS: round(wall, 1)}
        for key, value in (numbers | {STARTS: starts}).items():
            # mmengine's log drops integers, which become numpy's.
            runner.message_hub.update_scalar(f"test/{key}", float(value))

    def _total(self) -> tuple[float, float, int]:
        processor, wall, starts = self._before
        if self._since is None:
            return self._before
        return (
            processor + time.process_time() - self._since[0],
            wall + time.perf_counter() - self._since[1],
            starts + 1,
        )
