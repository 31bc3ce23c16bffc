"""What a neck learns, as curves beside the losses of a training."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from fpn_necks.layers.arguments import check_int

from .recording import level_numbers, observe
from .weights import (
    has_weights,
    record_asff_weights,
    record_attention_factors,
    record_soft_roi_weights,
    soft_roi_extractors,
    stored_factors,
)


@HOOKS.register_module()
class NeckVisualizationHook(Hook):
    """Write the weights that a neck gives to levels, every so many iterations.

    They go to mmengine's ``Visualizer``, and so to whatever backends the config has
    (local files, TensorBoard, W&B, ...), with the iteration as step:

    - ``alpha/<path>.<i>``: α of top-down connection i of an ``SAlphaFPN``, the highest
      resolution first, after the step of this iteration. Of attention factors the mean
      over the batch. A factor that all connections share is there once.
    - ``asff/<path>.p<l>_from_p<n>``: the mean weight, over images and places, by which
      ASFF's fused level l takes from level n. Over n they sum to 1.
    - ``soft_roi/<path>.p<n>``: share of level n in the features of the RoIs of a
      ``SoftRoIExtractor``; over n they sum to 1. Nothing where there is no RoI.

    Uncertainty of auxiliary heads is not here: it is among their losses, as
    ``aux.alpha_<kind>.<level>``.

    Only the first process records, its own part of the batch, and nothing is exchanged.
    Between the recorded iterations the model is as it would be without this hook. What
    is written is what the iteration computed: nothing runs twice.

    Args:
        interval: iterations from one record to the next, at least 1.
    """

    # Before mmengine's LoggerHook: at an iteration of both, these come first.
    priority = "NORMAL"

    def __init__(self, interval: int = 50) -> None:
        self.interval = check_int("interval", interval)
        self._recording = ExitStack()
        self._recorded: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Say so if the model has nothing to record."""
        if is_main_process() and not has_weights(_model(runner)):
            runner.logger.warning(
                "NeckVisualizationHook finds nothing to record: the model has no "
                "fusion factors, no ASFF and no Soft-RoI with weights"
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Start to record, if it is time."""
        self._recording.close()  # of an iteration that did not end
        if self.every_n_train_iters(runner, self.interval) and is_main_process():
            self._recorded = _start(_model(runner), self._recording)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Stop recording and write what there is."""
        self._recording.close()
        recorded, self._recorded = self._recorded, {}
        if recorded and (values := _values(_model(runner), recorded)):
            # One copy from the device for all of them.
            numbers = torch.stack([x.double() for x in values.values()]).tolist()
            scalars = dict(zip(values, numbers, strict=True))
            runner.visualizer.add_scalars(scalars, step=runner.iter + 1)


def _model(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _start(model: nn.Module, stack: ExitStack) -> dict[str, Any]:
    recorded: dict[str, Any] = {
        "alpha": stack.enter_context(record_attention_factors(model)),
        "asff": stack.enter_context(record_asff_weights(model)),
        "soft_roi": stack.enter_context(record_soft_roi_weights(model)),
    }

    def look(_name: str, inputs: tuple, _output: Any) -> None:
        recorded["size"] = inputs[0].shape[-2:]

    stack.enter_context(observe({"backbone": model.backbone}, look))
    return recorded


@torch.no_grad()
def _values(model: nn.Module, recorded: dict[str, Any]) -> dict[str, Tensor]:
    """Return scalars by the name they are written under."""
    alphas = stored_factors(model)
    alphas |= {name: x.mean() for name, x in recorded["alpha"].items()}
    values = {f"alpha/{name}": x for name, x in alphas.items()}
    for path, maps in recorded["asff"].items():
        numbers = level_numbers(recorded["size"], [x.shape[-2:] for x in maps])
        for target, weights in zip(numbers, maps, strict=True):
            for source, mean in zip(numbers, weights.mean((0, 2, 3)), strict=True):
                values[f"asff/{path}.p{target}_from_p{source}"] = mean
    extractors = soft_roi_extractors(model)
    for path, calls in recorded["soft_roi"].items():
        weights = torch.cat([x for _, x in calls])
        if len(weights):
            from fpn_necks.roi_extractors import level_shares

            strides = extractors[path].featmap_strides
            for stride, share in zip(strides, level_shares(weights), strict=True):
                values[f"soft_roi/{path}.p{round(math.log2(stride))}"] = share
    return values
