"""Log-average miss rate by the rules of the released TinyPerson evaluation."""

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

# Nine points from 0.01 to 1, made as the released code makes them: each is a little
# above the round number, so that a false-positive rate of exactly 0.1 is within 0.1.
FALSE_POSITIVES_PER_IMAGE = np.exp(
    np.arange(np.log(0.01), np.log(1.0) + 1e-10, np.log(1.0 / 0.01) / 8)
)
# Detections further than this factor outside the bucket are not ranked at all.
SIZE_MARGIN = 1.25
MIN_VISIBILITY = 0.65
_IOD_IN_IGNORED = 0.5


@dataclass(frozen=True)
class MissRate:
    """Curves of all settings; -1 where a category has no box in a bucket.

    Attributes:
        values: ``(T, B)`` log-average miss rate over points and categories with boxes;
            -1 if there is none.
        recall: ``(T, 9, K, B)`` at the points of false positives per image.
        num_wrapped: ``(T, K, B)`` points that lie before the first ranked detection.
        outcomes: what became of every detection.
    """

    values: np.ndarray
    recall: np.ndarray
    num_wrapped: np.ndarray
    outcomes: Outcomes


def miss_rate(
    truth: GroundTruth, detections: RankedDetections, pairs: Pairs, settings: Settings
) -> MissRate:
    """Compute the log-average miss rate for all thresholds and buckets.

    Detections far outside a bucket are dropped; ignored boxes are compared by IoD and
    can be matched by any number of detections; exp(mean(log(1 - recall))) over nine
    points of false positives per image.

    Args:
        truth: the boxes.
        detections: ranked within groups.
        pairs: of all detections with the boxes.
        settings: ranges compare with the boxes' sizes.
    """
    outcomes = judge(truth, detections, pairs, settings)
    num_categories, num_buckets = outcomes.num_positives.shape
    num_thresholds = len(settings.iou_thresholds)
    shape = (num_thresholds, len(FALSE_POSITIVES_PER_IMAGE), num_categories)
    recall = np.full((*shape, num_buckets), -1.0)
    wrapped = np.zeros((num_thresholds, num_categories, num_buckets), dtype=np.int64)
    num_images = len(truth.image_ids)
    categories = detections.groups // num_images
    within = detections.ranks < settings.max_detections
    for k in range(num_categories):
        in_order = (within & (categories == k)).nonzero()[0]
        in_order = in_order[np.argsort(-detections.scores[in_order], kind="stable")]
        for setting in range(settings.num_settings):
            b, t = divmod(setting, num_thresholds)
            positives = outcomes.num_positives[k, b]
            if positives == 0:
                continue
            rows = in_order[outcomes.counted[setting, in_order]]
            recall[t, :, k, b], wrapped[t, k, b] = recall_at_false_positives(
                outcomes.true[setting, rows],
                outcomes.false[setting, rows],
                positives,
                num_images,
                settings.rules.recall_wraps,
            )
    return MissRate(_log_average(recall), recall, wrapped, outcomes)


def judge(
    truth: GroundTruth, detections: RankedDetections, pairs: Pairs, settings: Settings
) -> Outcomes:
    """Match detections to boxes and decide which count."""
    low, high = settings.edges
    ignored = _ignored_everywhere(truth, settings)
    outside = (truth.sizes[:, None] < low) | (truth.sizes[:, None] > high)
    ignored_in_bucket = ignored[:, None] | outside
    ignored_here = settings.per_setting(ignored_in_bucket)

    sizes = np.sqrt(detections.areas)[:, None]
    near = (sizes >= low / SIZE_MARGIN) & (sizes < high * SIZE_MARGIN)
    near &= (detections.ranks < settings.max_detections)[:, None]
    counted = settings.per_setting(near)
    matched = np.full(counted.T.shape, -1, dtype=np.int32)
    pairs = pairs[near.any(1)[pairs.detections]]
    for chunk in chunks(pairs, detections.groups, settings.num_settings):
        part = pairs[chunk]
        preferences = _preferences(part, truth, ignored_here, counted, settings)
        match(part, detections.ranks, preferences, matched)

    return decide(truth, ignored_in_bucket, matched, counted.T, None, settings)


def recall_at_false_positives(
    true: np.ndarray, false: np.ndarray, positives: int, num_images: int, wraps: bool
) -> tuple[np.ndarray, int]:
    """Return the recall at the nine points, and how many lie before the first rank.

    Args:
        true: ``(D,)`` true positives in order of falling score.
        false: ``(D,)`` false positives.
        positives: number of boxes to be found.
        num_images: number of images, those without detections included.
        wraps: such points get the final recall instead of 0.
    """
    per_image = np.cumsum(false) / num_images
    last = np.searchsorted(per_image, FALSE_POSITIVES_PER_IMAGE, side="right") - 1
    if not len(per_image):
        return np.zeros(len(last)), 0
    before = last < 0
    recall = (np.cumsum(true) / positives)[last]
    return recall if wraps else np.where(before, 0.0, recall), int(before.sum())


def _ignored_everywhere(truth: GroundTruth, settings: Settings) -> np.ndarray:
    ignored = truth.visibilities < MIN_VISIBILITY
    if settings.use_ignore_attr or settings.rules.miss_rate_reads_ignore_alone:
        ignored = ignored | truth.ignore
    if not settings.rules.miss_rate_reads_ignore_alone:
        ignored = ignored | truth.crowd
    if settings.ignore_uncertain:
        ignored = ignored | truth.uncertain
    return ignored


def _preferences(
    pairs: Pairs,
    truth: GroundTruth,
    ignored_here: np.ndarray,
    counted: np.ndarray,
    settings: Settings,
) -> Preferences:
    num_pairs, iod = len(pairs), pairs.iod
    ignored = ignored_here[pairs.truths]
    allowed = counted[pairs.detections]
    file_order = np.arange(num_pairs)
    iou = pairs.iou
    # Of the boxes that count the highest overlap wins, of equal ones the last. Only
    # then come the ignored ones, and of them the first.
    by_overlap = order_positions(file_order, iou)
    first_wins = (num_pairs - 1 - file_order).astype(np.int32)
    keys = np.where(ignored, first_wins[:, None], by_overlap[:, None] + num_pairs)
    overlap = np.where(ignored, iod[:, None], iou[:, None])
    keys[~allowed | (overlap < settings.thresholds)] = -1
    fallback = None
    if settings.use_iod_for_ignore and settings.rules.iod_from_overlap:
        ratio = truth.areas[pairs.truths] / pairs.detection_areas
        twice = iod / (1 + iod) * (1 + ratio)
        place = order_positions(-file_order, twice)
        is_inside = ignored & allowed & (twice > _IOD_IN_IGNORED)[:, None]
        best = best_per_detection(
            pairs.detections, np.where(is_inside, place[:, None], -1)
        )
        fallback = np.where(best >= 0, np.argsort(place)[best], -1)
    pair_of_key = np.concatenate([file_order[::-1], np.argsort(by_overlap)])
    return Preferences(keys, pair_of_key, fallback, ~ignored_here)


def _log_average(recall: np.ndarray) -> np.ndarray:
    known = recall > -1
    count = known.sum((1, 2))
    with np.errstate(divide="ignore"):
        logs = np.log(1 - np.where(known, recall, 0))
    means = logs.sum((1, 2)) / np.maximum(count, 1)
    return np.where(count > 0, np.exp(means), -1.0)
