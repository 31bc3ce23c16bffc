"""Log-average miss rate by the rules of the released TinyPerson evaluation.

Detections far outside a bucket are dropped; ignored boxes are compared by IoD and can
be matched by any number of detections; exp(mean(log(1 - recall))) over nine points of
false positives per image.
"""

from __future__ import annotations

import numpy as np

from .boxes import GroundTruth, RankedDetections
from .matching import (
    FALSE,
    TRUE,
    UNRANKED,
    Pairs,
    count,
    match,
    order_positions,
)
from .options import EvaluationOptions

# Nine points from 0.01 to 1 as the released code's exp of a range of logarithms gave
# them. Most are a little above the round number, so that a false-positive rate of
# exactly 0.1 is within 0.1; as literals they do not depend on numpy's last bit.
FALSE_POSITIVES_PER_IMAGE = np.array(
    [
        0.010000000000000004,
        0.01778279410038924,
        0.031622776601683826,
        0.05623413251903498,
        0.10000000000000016,
        0.1778279410038926,
        0.3162277660168386,
        0.5623413251903504,
        1.0000000000000027,
    ]
)
# Detections further than this factor outside the bucket are not ranked at all.
SIZE_MARGIN = 1.25
MIN_VISIBILITY = 0.65
_IOD_IN_IGNORED = 0.5


def ignored_boxes(truth: GroundTruth, options: EvaluationOptions) -> np.ndarray:
    """Return ``(G, B)`` the boxes that need not be found, for every bucket."""
    ignored = truth.visibilities < MIN_VISIBILITY
    if options.use_ignore_attr or options.released:
        ignored = ignored | truth.ignore
    if not options.released:
        ignored = ignored | truth.crowd
    if options.ignore_uncertain:
        ignored = ignored | truth.uncertain
    low, high = options.edges("mr")
    sizes = truth.sizes[:, None]
    return ignored[:, None] | (sizes < low) | (sizes > high)


def match_boxes(
    truth: GroundTruth,
    detections: RankedDetections,
    pairs: Pairs,
    options: EvaluationOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(S, D)`` what each detection counts as, and the box it takes, or -1."""
    low, high = options.edges("mr")
    ignored = ignored_boxes(truth, options)
    sizes = np.sqrt(detections.areas)[:, None]
    near = (sizes >= low / SIZE_MARGIN) & (sizes < high * SIZE_MARGIN)
    near &= (detections.ranks < options.mr_max_detections)[:, None]
    ranked = options.per_setting(near)
    pairs = pairs[near.any(1)[pairs.detections]]
    ignored_here = options.per_setting(ignored)
    here, allowed = ignored_here[pairs.truths], ranked[pairs.detections]
    # Of the boxes that count the highest overlap wins, of equal ones the last. Only
    # then come the ignored ones, and of them the first.
    file_order = np.arange(len(pairs.iou), dtype=np.int32)
    orders = file_order[::-1], order_positions(file_order, pairs.iou)
    fallback = None
    if options.use_iod_for_ignore and options.released:
        twice = pairs.derived_iod(pairs.iod)
        inside = here & allowed & (twice > _IOD_IN_IGNORED)[:, None]
        fallback = order_positions(-file_order, twice), inside
    overlap = np.where(here, pairs.iod[:, None], pairs.iou[:, None])
    allowed &= overlap >= options.thresholds("mr")
    exclusive = ~ignored_here
    ranks = detections.ranks
    matched = match(pairs, ranks, orders, here, allowed, exclusive, fallback)
    unmatched = np.where(ranked.T, FALSE, UNRANKED)
    return count(truth, ignored, matched, unmatched, options), matched


def miss_rate(
    counts: np.ndarray, positives: int, num_images: int, options: EvaluationOptions
) -> float:
    """Return the log-average over the nine points; 0 if the recall at one is 1.

    Args:
        counts: ``(D,)`` what detections count as, in order of falling score.
        positives: number of boxes to be found, at least 1.
        num_images: number of images, those without detections included.
        options: of the evaluation.
    """
    counts = counts[counts != UNRANKED]
    if not len(counts):
        return 1.0
    per_image = np.cumsum(counts == FALSE) / num_images
    last = np.searchsorted(per_image, FALSE_POSITIVES_PER_IMAGE, side="right") - 1
    # Points before the first rank index the last one: the released code's quirk.
    recall = (np.cumsum(counts == TRUE) / positives)[last]
    if not options.released:
        recall[last < 0] = 0
    if (recall >= 1).any():
        return 0.0
    return float(np.exp(np.log(1 - recall).mean()))
