"""Fill the statistic fusion factors of S-α FPN before training starts."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.statistics import estimate


@HOOKS.register_module()
class FusionFactorHook(Hook):
    """Count the objects of the training set per level and set α from the counts.

    Acts on every ``StatisticFusionFactor`` of the model. The first process reads the
    annotations (no image) and gives its result to all others. A resumed run keeps the
    α of its checkpoint; a run that starts from ``load_from`` counts anew, because α
    belongs to the training set. Testing never counts.
    """

    def before_train(self, runner: Runner) -> None:
        """Set α unless the run is resumed from a checkpoint that has it.

        Raises:
            RuntimeError: the counting failed; all processes raise it.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for factor in model.modules():
            if not isinstance(factor, StatisticFusionFactor):
                continue
            if runner._resume and factor.is_set:
                kept = [round(value, 4) for value in factor.alpha.tolist()]
                runner.logger.info(f"fusion factors of the checkpoint are kept: {kept}")
                continue
            factor.set(_count_on_main_process(runner, model, factor))


def _count_on_main_process(
    runner: Runner, model: torch.nn.Module, factor: StatisticFusionFactor
) -> list[float]:
    result: list[Any] = [None, None]
    if is_main_process():
        try:
            report = estimate(
                model,
                runner.train_dataloader.dataset,
                factor.num_connections,
                factor.count,
            )
        except Exception as error:
            # The others wait in the broadcast: they must hear of it, or they hang.
            result = [None, f"{type(error).__name__}: {error}"]
        else:
            runner.logger.info(
                f"fusion factors set from the training set\n{report.table()}"
            )
            result = [report.factors, None]
    broadcast_object_list(result)
    factors, error_message = result
    if error_message is not None:
        raise RuntimeError(f"the fusion factors cannot be counted: {error_message}")
    return factors
