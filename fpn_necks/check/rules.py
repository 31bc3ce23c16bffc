"""All rules, and what keeps a detector from being built or run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from mmdet.registry import MODELS

from ..config_tools import value_at, walk
from ..messages import did_you_mean, one_line
from . import levels, settings
from .measure import LANGUAGE_MODEL, Detector, error_words
from .problem import Problem, Problems

_CHANGE = "change the argument that the message names"
_UNKNOWN_TYPE = re.compile(r"([\w.]+) is not in the (\S+) registry")


def find_problems(detector: Detector) -> list[Problem]:
    """Apply all rules.

    Args:
        detector: from ``examine``.

    Returns:
        The problems, causes before their consequences: if building or running failed
        and a rule has found out why, the failure itself is a note.
    """
    problems = [problem for rule in RULES for problem in rule(detector)]
    explained = any(_is_of_model(problem) for problem in problems)
    for problem in _failure(detector):
        if explained and problem.level == "error":
            remedy = "a consequence of the above; mend that first"
            problem = replace(problem, level="note", remedy=remedy, changes={})
        problems.append(problem)
    return problems


def _is_of_model(problem: Problem) -> bool:
    key = problem.key.split(".")
    about_maps = key[0] == "model" and key[-1] not in ("num_classes", "checkpoint")
    return problem.level == "error" and (about_maps or key[0] == "custom_imports")


def _failure(detector: Detector) -> Problems:
    """Can the detector be built and run at all?"""
    model = detector.model
    if detector.build_error is not None:
        yield _build_failure(detector, detector.build_error)
    elif value_at(detector.config, f"model.{LANGUAGE_MODEL}") is not None:
        yield Problem(
            "note",
            f"model.{LANGUAGE_MODEL}",
            "a language model is downloaded when it is built: the model is not built, "
            "its maps and heads are not checked",
        )
    elif model is None:
        yield Problem("note", "model", "the config has no model: nothing is checked")
    elif not detector.can_extract:
        yield Problem(
            "note",
            "model.type",
            f"{type(model).__name__} is no detector with backbone and extract_feat: "
            "its maps are not checked",
        )
    elif detector.maps.error is not None:
        yield _run_failure(detector, detector.maps.error)


def _build_failure(detector: Detector, error: Exception) -> Problem:
    if "process group" in str(error):
        return Problem(
            "note",
            detector.failed_key,
            "is built in a distributed run only (synchronised normalisation); its maps "
            "and heads are not checked",
        )
    unknown = _UNKNOWN_TYPE.search(str(error))
    if unknown is None:
        detail, remedy = f"cannot be built: {error_words(detector)}", _CHANGE
        return Problem("error", detector.failed_key, detail, remedy)
    name, registry = unknown.groups()
    keys = [f"{key}.type" for key, x in walk(detector.config) if x.get("type") == name]
    key = next((k for k in keys if k.startswith("model.")), detector.failed_key)
    hint = did_you_mean(name, MODELS.module_dict)
    similar = hint.split("'")[1] if hint else ""
    named = f"the most similar name is {similar}; or " if similar else ""
    return Problem(
        "error",
        key,
        f"{name} is not in the {registry} registry",
        f"{named}name the module that registers it in custom_imports",
        {key: similar} if similar and key.endswith(".type") else {},
    )


def _run_failure(detector: Detector, error: Exception) -> Problem:
    maps, keys, stages = detector.maps, detector.neck_keys, detector.stages
    if maps.backbone is None:
        key, part = "model.backbone", "the backbone"
    else:
        # Without a neck of stages it is the detector's own extract_feat.
        index = min(len(maps.stages), max(len(keys) - 1, 0))
        key = keys[index] if keys else "model"
        named = index < len(stages)
        part = type(stages[index]).__name__ if named else "the detector"
    said = one_line(error)
    if maps.device == "cpu" and isinstance(error, TypeError | AttributeError):
        # Detectors that read texts or several images have another way in.
        return Problem("note", key, f"{part} does not take an image alone: {said}")
    if "device cpu not found" in said:
        detail = f"{part} has an operator that needs a GPU: its maps are not checked"
        return Problem("note", key, detail)
    return Problem("error", key, f"{part} cannot be run: {said}", _CHANGE)


RULES: tuple[Callable[[Detector], Problems], ...] = (
    settings.imports,
    levels.second_stage,
    levels.first_stage,
    levels.later_stages,
    levels.fusion_factors,
    levels.strides,
    levels.channels,
    settings.classes,
    settings.weights,
    settings.batches,
    settings.auxiliary,
    settings.ignored_boxes,
)
