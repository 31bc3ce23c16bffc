"""What became of every detection: true, false or ignored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .annotations import GroundTruth
from .settings import Settings


@dataclass(frozen=True)
class Outcomes:
    """The detections in every setting. What is neither true nor false is ignored.

    Attributes:
        counted: ``(S, D)`` ranked among the others at all.
        matched: ``(S, D)`` index of the box that was taken, or -1.
        true: ``(S, D)`` true positive.
        false: ``(S, D)`` false positive.
        num_positives: ``(K, B)`` boxes to be found, per category and bucket.
    """

    counted: np.ndarray
    matched: np.ndarray
    true: np.ndarray
    false: np.ndarray
    num_positives: np.ndarray


def decide(
    truth: GroundTruth,
    ignored: np.ndarray,
    matched: np.ndarray,
    counted: np.ndarray,
    ignored_unmatched: np.ndarray | None,
    settings: Settings,
) -> Outcomes:
    """Turn matches into outcomes.

    Args:
        truth: the boxes.
        ignored: ``(G, B)`` boxes that need not be found.
        matched: ``(S, D)`` index of the box that was taken, or -1.
        counted: ``(S, D)`` detections that are ranked.
        ignored_unmatched: ``(S, D)`` detections that are ignored unless they match.
        settings: of the metric.
    """
    is_matched, in_ignored = matched >= 0, np.zeros_like(matched, dtype=bool)
    if len(truth.ids):
        per_setting = settings.per_setting(ignored).T
        in_ignored = is_matched & np.take_along_axis(per_setting, matched, 1)
        if settings.rules.zero_id_is_no_match:
            is_matched &= (truth.ids != 0)[matched]
    is_ignored = in_ignored
    if ignored_unmatched is not None:
        is_ignored = in_ignored | (~is_matched & ignored_unmatched)
    ranked = counted & ~is_ignored
    num_positives = np.zeros(
        (len(truth.category_ids), len(settings.ranges)), dtype=np.int64
    )
    np.add.at(num_positives, truth.categories, ~ignored)
    return Outcomes(
        counted, matched, ranked & is_matched, ranked & ~is_matched, num_positives
    )
