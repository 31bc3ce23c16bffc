"""Fill the statistic fusion factors of S-α FPN before training starts."""

from __future__ import annotations

from mmdet.registry import HOOKS
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.statistics import estimate, find_detector


@HOOKS.register_module()
class FusionFactorHook(Hook):
    """Count the objects of the training set per level and set α from the counts.

    Acts on every ``StatisticFusionFactor`` of the model; of a wrapper, such as mmdet's
    semi-supervised detectors, on those of the student and of the teacher. A resumed
    run keeps the α of its checkpoint; a run that starts from ``load_from`` counts anew,
    because α belongs to the training set. Testing never counts.

    Every process reads all annotations (no image) and then compares its result with the
    others': none waits while another counts, which the time limit of NCCL would end.
    """

    def before_train(self, runner: Runner) -> None:
        """Set α unless the run is resumed from a checkpoint that has it.

        Raises:
            RuntimeError: the counting failed in a process, or gave other numbers than
                in the others; all processes raise it.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for path, factor in model.named_modules():
            if not isinstance(factor, StatisticFusionFactor):
                continue
            if runner._resume and factor.is_set:
                kept = [round(value, 4) for value in factor.alpha.tolist()]
                runner.logger.info(f"fusion factors of the checkpoint are kept: {kept}")
                continue
            factor.set(_count(runner, _detector_of(model, path), factor))


def _detector_of(model: nn.Module, path: str) -> nn.Module:
    """Return the innermost detector around a module."""
    while path:
        path = path.rpartition(".")[0]
        try:
            return find_detector(model.get_submodule(path))
        except ValueError:
            continue
    return model


def _count(
    runner: Runner, detector: nn.Module, factor: StatisticFusionFactor
) -> list[float]:
    factors, problem = None, None
    try:
        dataset = runner.train_dataloader.dataset
        report = estimate(detector, dataset, factor.num_connections, factor.count)
    except Exception as error:
        # The others wait for this process's word: they must hear of it, or they hang.
        problem = f"{type(error).__name__}: {error}"
    else:
        factors = report.factors
        runner.logger.info(
            f"fusion factors set from the training set\n{report.table()}"
        )
        for warning in report.warnings:
            runner.logger.warning(warning)
    everywhere = all_gather_object((factors, problem))
    for _, problem in everywhere:
        if problem is not None:
            raise RuntimeError(f"the fusion factors cannot be counted: {problem}")
    if any(found != everywhere[0] for found in everywhere):
        raise RuntimeError(
            "the fusion factors cannot be counted: the processes see different "
            f"training sets, with factors {[found for found, _ in everywhere]}"
        )
    return everywhere[0][0]
