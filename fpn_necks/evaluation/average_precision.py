"""Average precision by the rules of the released TinyPerson evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .annotations import GroundTruth, RankedDetections
from .matching import (
    Preferences,
    best_per_detection,
    chunks,
    match,
    order_positions,
)
from .outcomes import Outcomes, decide
from .overlaps import Pairs
from .settings import Settings

RECALL_POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class AveragePrecision:
    """Curves of all settings; -1 where a category has no box in a bucket.

    Attributes:
        values: ``(T, B)`` average precision, the mean over recall points and categories
            with boxes; -1 if there is none.
        precision: ``(T, 101, K, B)`` at the recall points 0, 0.01, ..., 1.
        scores: ``(T, 101, K, B)`` score at which each recall point is reached.
        recall: ``(T, K, B)`` final recall.
        outcomes: what became of every detection.
    """

    values: np.ndarray
    precision: np.ndarray
    scores: np.ndarray
    recall: np.ndarray
    outcomes: Outcomes


def average_precision(
    truth: GroundTruth, detections: RankedDetections, pairs: Pairs, settings: Settings
) -> AveragePrecision:
    """Compute the average precision for all thresholds and buckets.

    COCO's matching and its 101 recall points, with two differences: a detection that
    finds no match and lies in an ignored box (by IoD, at the current threshold) is
    ignored, and that box counts as taken.

    Args:
        truth: the boxes.
        detections: ranked within groups.
        pairs: of all detections with the boxes.
        settings: ranges compare with the boxes' areas.
    """
    outcomes = judge(truth, detections, pairs, settings)
    num_categories, num_buckets = outcomes.num_positives.shape
    num_thresholds = len(settings.iou_thresholds)
    shape = (num_thresholds, len(RECALL_POINTS), num_categories, num_buckets)
    precision, scores = np.full(shape, -1.0), np.full(shape, -1.0)
    recall = np.full((num_thresholds, num_categories, num_buckets), -1.0)
    categories = detections.groups // len(truth.image_ids)
    within = detections.ranks < settings.max_detections
    for k in range(num_categories):
        rows = (within & (categories == k)).nonzero()[0]
        rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
        ranked_scores = detections.scores[rows]
        for setting in range(settings.num_settings):
            b, t = divmod(setting, num_thresholds)
            positives = outcomes.num_positives[k, b]
            if positives == 0:
                continue
            curve = precision_curve(
                outcomes.true[setting, rows], outcomes.false[setting, rows], positives
            )
            precision[t, :, k, b], places, recall[t, k, b] = curve
            reached = places < len(rows)
            scores[t, :, k, b] = 0
            scores[t, reached, k, b] = ranked_scores[places[reached]]
    return AveragePrecision(
        _mean_of_known(precision), precision, scores, recall, outcomes
    )


def judge(
    truth: GroundTruth, detections: RankedDetections, pairs: Pairs, settings: Settings
) -> Outcomes:
    """Match detections to boxes and decide which count."""
    low, high = settings.edges**2 * np.sign(settings.edges)
    ignored = truth.crowd.copy()
    if settings.use_ignore_attr:
        ignored |= truth.ignore
    if settings.ignore_uncertain:
        ignored |= truth.uncertain
    outside = (truth.areas[:, None] < low) | (truth.areas[:, None] > high)
    ignored_in_bucket = ignored[:, None] | outside
    ignored_here = settings.per_setting(ignored_in_bucket)

    num_detections = len(detections.scores)
    within = detections.ranks < settings.max_detections
    matched = np.full((settings.num_settings, num_detections), -1, dtype=np.int32)
    pairs = pairs[within[pairs.detections]]
    overlap, iod = _overlaps(pairs, truth, settings)
    # No smaller overlap can matter, and most are smaller.
    lowest = settings.thresholds.min()
    near = (overlap >= lowest) | (iod >= lowest)
    pairs, overlap, iod = pairs[near], overlap[near], iod[near]
    for chunk in chunks(pairs, detections.groups, settings.num_settings):
        part = pairs[chunk]
        preferences = _preferences(
            part, overlap[chunk], iod[chunk], truth.crowd, ignored_here, settings
        )
        match(part, detections.ranks, preferences, matched)
    areas = detections.areas[:, None]
    beyond = settings.per_setting((areas < low) | (areas > high)).T
    counted = np.broadcast_to(within, matched.shape)
    return decide(truth, ignored_in_bucket, matched, counted, beyond, settings)


def precision_curve(
    true: np.ndarray, false: np.ndarray, positives: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the precision at the recall points, their places and the final recall.

    Args:
        true: ``(D,)`` true positives in order of falling score.
        false: ``(D,)`` false positives.
        positives: number of boxes to be found.

    Returns:
        ``(101,)`` precision, 0 where the recall is not reached; ``(101,)`` index of the
        detection that reaches it, D where none does; the final recall.
    """
    num_true = np.cumsum(true, dtype=np.float64)
    recalls = num_true / positives
    # The spacing keeps a leading ignored detection from dividing 0 by 0.
    precisions = num_true / (np.cumsum(false) + num_true + np.spacing(1))
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    places = np.searchsorted(recalls, RECALL_POINTS, side="left")
    found = np.append(precisions, 0.0)[places]
    return found, places, float(recalls[-1]) if len(recalls) else 0.0


def _overlaps(
    pairs: Pairs, truth: GroundTruth, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(P,)`` overlap as COCO defines it, and IoD by the rules."""
    iod = pairs.iod
    overlap = np.where(truth.crowd[pairs.truths], iod, pairs.iou)
    if settings.rules.iod_from_overlap:
        ratio = truth.areas[pairs.truths] / pairs.detection_areas
        iod = overlap / (1 + overlap) * (1 + ratio)
    return overlap, iod


def _preferences(
    pairs: Pairs,
    overlap: np.ndarray,
    iod: np.ndarray,
    crowd: np.ndarray,
    ignored_here: np.ndarray,
    settings: Settings,
) -> Preferences:
    thresholds, num_pairs = settings.thresholds, len(pairs)
    ignored = ignored_here[pairs.truths]
    file_order = np.arange(num_pairs)
    # The highest overlap wins, of equal ones the last; any box that counts wins over
    # any that is ignored.
    place = order_positions(file_order, overlap)
    keys = place[:, None] + np.where(ignored, np.int32(0), np.int32(num_pairs))
    keys[overlap[:, None] < thresholds] = -1
    fallback = None
    if settings.use_iod_for_ignore:
        # The highest IoD wins, of equal ones the first.
        iod_place = order_positions(-file_order, iod)
        candidates = np.where(
            ignored & (iod[:, None] >= thresholds), iod_place[:, None], np.int32(-1)
        )
        best = best_per_detection(pairs.detections, candidates)
        fallback = np.where(best >= 0, np.argsort(iod_place)[best], -1)
    exclusive = np.broadcast_to(~crowd[:, None], ignored_here.shape)
    return Preferences(keys, np.tile(np.argsort(place), 2), fallback, exclusive)


def _mean_of_known(precision: np.ndarray) -> np.ndarray:
    known = precision > -1
    count = known.sum((1, 2))
    total = np.where(known, precision, 0).sum((1, 2))
    return np.where(count > 0, total / np.maximum(count, 1), -1.0)
