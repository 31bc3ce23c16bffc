"""Average precision by the rules of the released TinyPerson evaluation.

COCO's matching and its 101 recall points, with two differences: a detection that finds
no match and lies in an ignored box (by IoD, at the current threshold) is ignored, and
that box counts as taken.
"""

from __future__ import annotations

import numpy as np

from .boxes import GroundTruth, RankedDetections
from .matching import (
    FALSE,
    IGNORED,
    TRUE,
    UNRANKED,
    Pairs,
    count,
    match,
    order_positions,
)
from .options import EvaluationOptions

RECALL_POINTS = np.linspace(0, 1, 101)


def ignored_boxes(truth: GroundTruth, options: EvaluationOptions) -> np.ndarray:
    """Return ``(G, B)`` the boxes that need not be found, for every bucket."""
    ignored = truth.crowd.copy()
    if options.use_ignore_attr:
        ignored |= truth.ignore
    if options.ignore_uncertain:
        ignored |= truth.uncertain
    return ignored[:, None] | _outside(truth.areas, options)


def match_boxes(
    truth: GroundTruth,
    detections: RankedDetections,
    pairs: Pairs,
    options: EvaluationOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(S, D)`` what each detection counts as, and the box it takes, or -1."""
    thresholds = options.thresholds("ap")
    ignored = ignored_boxes(truth, options)
    within = detections.ranks < options.ap_max_detections
    pairs = pairs[within[pairs.detections]]
    iod = pairs.iod
    overlap = np.where(truth.crowd[pairs.truths], iod, pairs.iou)
    if options.released:
        iod = pairs.derived_iod(overlap)
    # No smaller overlap can matter, and most are smaller.
    near = (overlap >= thresholds.min()) | (iod >= thresholds.min())
    pairs, overlap, iod = pairs[near], overlap[near], iod[near]
    here = options.per_setting(ignored)[pairs.truths]
    file_order = np.arange(len(overlap))
    # The highest overlap wins, of equal ones the last.
    place = order_positions(file_order, overlap)
    fallback = None
    if options.use_iod_for_ignore:
        # The highest IoD wins, of equal ones the first.
        iod_place = order_positions(-file_order, iod)
        fallback = iod_place, here & (iod[:, None] >= thresholds)
    allowed = overlap[:, None] >= thresholds
    exclusive = np.repeat(~truth.crowd[:, None], len(thresholds), axis=1)
    orders = place, place
    ranks = detections.ranks
    matched = match(pairs, ranks, orders, here, allowed, exclusive, fallback)
    outside = options.per_setting(_outside(detections.areas, options)).T
    unmatched = np.where(within, np.where(outside, IGNORED, FALSE), UNRANKED)
    return count(truth, ignored, matched, unmatched, options), matched


def average_precision(
    counts: np.ndarray, positives: int, num_images: int, options: EvaluationOptions
) -> float:
    """Return the mean precision over the recall points; 0 where one is not reached.

    ``counts`` ``(D,)`` is what detections count as, in order of falling score;
    ``positives`` is at least 1. The miss rate needs the other arguments.
    """
    num_true = np.cumsum(counts == TRUE, dtype=np.float64)
    # The spacing keeps a leading ignored detection from dividing 0 by 0.
    precisions = num_true / (np.cumsum(counts == FALSE) + num_true + np.spacing(1))
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    places = np.searchsorted(num_true / positives, RECALL_POINTS, side="left")
    return float(np.append(precisions, 0.0)[places].mean())


def _outside(areas: np.ndarray, options: EvaluationOptions) -> np.ndarray:
    edges = options.edges("ap")
    low, high = edges**2 * np.sign(edges)
    return (areas[:, None] < low) | (areas[:, None] > high)
