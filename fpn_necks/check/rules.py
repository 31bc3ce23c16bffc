"""All rules, and what keeps a detector from being built or run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..config_tools import value_at, walk
from ..messages import one_line
from . import levels, settings
from .measure import LANGUAGE_MODEL, Detector
from .problem import Problem, Problems


def find_problems(detector: Detector) -> list[Problem]:
    """Apply all rules.

    Args:
        detector: from ``examine``.

    Returns:
        The problems, causes before their consequences: if building or running failed
        and a rule has found out why, the failure itself is a note.
    """
    problems = [problem for rule in RULES for problem in rule(detector)]
    explained = any(
        problem.level == "error" and problem.key.startswith(("custom_imports", "model"))
        for problem in problems
        if problem.key.split(".")[-1] not in ("num_classes", "checkpoint")
    )
    for problem in _failure(detector):
        if explained and problem.level == "error":
            remedy = "a consequence of the above; fix that first"
            problem = replace(problem, level="note", remedy=remedy)
        problems.append(problem)
    return problems


def _failure(detector: Detector) -> Problems:
    """Can the detector be built and run at all?"""
    if value_at(detector.config, f"model.{LANGUAGE_MODEL}") is not None:
        yield Problem(
            "note",
            f"model.{LANGUAGE_MODEL}",
            "a language model is downloaded when it is built: the model is not built, "
            "its maps and heads are not checked",
        )
    elif detector.error is not None:
        yield _error(detector, detector.error)
    elif not detector.can_extract:
        yield Problem(
            "note",
            "model",
            "there is no detector with backbone and extract_feat: maps are not checked",
        )


def _error(detector: Detector, error: Exception) -> Problem:
    said = one_line(error, (node for _, node in walk(detector.config)))
    key, verb = detector.failed_key, "built"
    if detector.model is not None:
        key, verb = "model.backbone", "run"
        if detector.backbone is not None:
            # Without a neck of stages it is the detector's own extract_feat.
            keys = detector.neck_keys or ["model"]
            key = keys[min(detector.stages_run, len(keys) - 1)]
        if detector.device == "cpu" and isinstance(error, TypeError | AttributeError):
            # Detectors that read texts or several images have another way in.
            return Problem("note", key, f"it does not take an image alone: {said}")
    if "device cpu not found" in said or "process group" in said:
        detail = "it needs a GPU or a distributed run: its maps are not checked"
        return Problem("note", key, detail)
    return Problem("error", key, f"it cannot be {verb}: {said}")


RULES: tuple[Callable[[Detector], Problems], ...] = (
    settings.imports,
    levels.first_stage,
    levels.fusion_factors,
    levels.strides,
    levels.channels,
    settings.classes,
    settings.weights,
    settings.batches,
    settings.auxiliary,
    settings.ignored_boxes,
)
