"""Give the post-processing of an untrained detector boxes to work on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .stages import record_post_processing

STEPS = 25
TOLERANCE = 1.08  # of the number of boxes


def let_boxes_through(
    detector: nn.Module, infer: Callable[[], Any], wanted: int
) -> float | None:
    """Set the score threshold so that a detector finds about so many boxes.

    With a config's own threshold an untrained detector finds nothing, or as much as it
    may return: post-processing has nothing or everything to do, and a mask head behind
    it does not run at all. The threshold is searched for by repeating the
    post-processing of boxes alone.

    Args:
        detector: a detector of mmdet; the ``score_thr`` of its ``test_cfg`` is changed.
        infer: runs it on images.
        wanted: mean number of boxes per image; at most 90 % of ``max_per_img``, since
            beyond it nobody sees how many boxes there are.

    Returns:
        The threshold, or ``None`` where the detector has none: it always returns the
        same number of boxes.

    Raises:
        ValueError: ``wanted`` is below 1.
    """
    if wanted < 1:
        raise ValueError(f"wanted must be at least 1, got {wanted}")
    configs = _test_configs(detector)
    if not configs:
        return None
    with record_post_processing(detector) as calls:
        infer()
    if not calls:
        return None
    _, repeat, _ = calls[0]  # masks come behind boxes
    allowed = min(
        (config["max_per_img"] for config in configs if "max_per_img" in config),
        default=math.inf,
    )
    # Saturated, nobody knows how many boxes the NMS had to look at.
    wanted = max(min(wanted, math.floor(0.9 * allowed)), 1)

    def found(threshold: float) -> list[Any]:
        for config in configs:
            config["score_thr"] = threshold
        with torch.no_grad():
            return repeat()

    return _search(found, wanted)


def _search(found: Callable[[float], list[Any]], wanted: int) -> float:
    """Search upwards in growing steps, then bisect: low thresholds are slow."""

    def number_at(logit: float) -> float:
        return _mean_number(found(_sigmoid(logit)))

    results = found(0.0)
    if _mean_number(results) <= wanted:
        return 0.0
    low = high = _score_of_rank(results, wanted)
    step = 0.02  # untrained scores are close to each other
    number = number_at(high)
    for _ in range(STEPS):
        if number <= TOLERANCE * wanted:
            break
        low, high, step = high, high + step, 2 * step
        number = number_at(high)
    for _ in range(STEPS):
        if number >= wanted / TOLERANCE:
            break
        middle = (low + high) / 2
        number_there = number_at(middle)
        if number_there > TOLERANCE * wanted:
            low = middle
        else:
            high, number = middle, number_there
    number_at(high)  # the threshold that stays
    return _sigmoid(high)


def _score_of_rank(results: Sequence[Any], rank: int) -> float:
    """Return the logit of the score that about so many boxes per image reach."""
    scores = torch.cat([result.scores for result in results]).double()
    scores = scores.sort(descending=True).values
    score = scores[min(rank * len(results), len(scores)) - 1]
    return float(torch.logit(score, eps=1e-12))


def count_boxes(detector: nn.Module, infer: Callable[[], Any]) -> float | None:
    """Return how many boxes per image a detector finds; ``None`` if nobody knows."""
    with record_post_processing(detector) as calls:
        infer()
    return _mean_number(calls[0][2]) if calls else None


def _mean_number(results: Sequence[Any]) -> float:
    return sum(len(result) for result in results) / len(results)


def _test_configs(detector: nn.Module) -> list[Any]:
    """Return the configs of post-processing that have a score threshold."""
    found = {}
    for name, module in detector.named_modules():
        config = getattr(module, "test_cfg", None)
        if config and "score_thr" in config and not name.startswith("auxiliary"):
            found[id(config)] = config
    return list(found.values())


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
