"""A machine that stops in the second epoch of a training."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook


@HOOKS.register_module(force=True)
class StopHook(Hook):
    def before_train_epoch(self, runner) -> None:
        if runner.epoch == 1:
            raise RuntimeError("the machine stops")
