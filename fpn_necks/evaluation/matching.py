"""Greedy matching of detections to boxes, for many settings at once.

COCO's matching walks the detections of an image by falling score; each takes the best
box that is left. Images do not depend on each other, and neither do settings (an IoU
threshold and a size bucket each). So the first detections of all images are matched
together in all settings, then the second ones, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .boxes import GroundTruth, RankedDetections
from .options import EvaluationOptions

# What a detection counts as: a true or a false positive, neither, or not even ranked.
TRUE, FALSE, IGNORED, UNRANKED = np.arange(4, dtype=np.uint8)

# Detections times boxes that are compared at once: 8 bytes and a few copies each, and
# where they overlap 40 bytes more for every setting.
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Pairs:
    """The detections and boxes of one group whose intersection is not empty.

    Sorted by detection, then by box. Most detections overlap few boxes, so this is far
    smaller than the full matrix.

    Attributes:
        detections: ``(P,)`` index of the detection.
        truths: ``(P,)`` index of the ground-truth box.
        intersections: ``(P,)`` area in pixels, above 0.
        detection_areas: ``(P,)`` width times height of the detection.
        truth_areas: ``(P,)`` width times height of the box.
    """

    detections: np.ndarray
    truths: np.ndarray
    intersections: np.ndarray
    detection_areas: np.ndarray
    truth_areas: np.ndarray

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, index: np.ndarray) -> Pairs:
        return Pairs(*(column[index] for column in vars(self).values()))

    @property
    def iou(self) -> np.ndarray:
        """``(P,)`` intersection over union."""
        union = self.detection_areas + self.truth_areas - self.intersections
        return self.intersections / union

    @property
    def iod(self) -> np.ndarray:
        """``(P,)`` intersection over the area of the detection."""
        return self.intersections / self.detection_areas


def blocks(
    detections: RankedDetections, truth: GroundTruth
) -> Iterator[tuple[slice, slice]]:
    """Yield detections and boxes in pieces of bounded work, of whole groups."""
    groups, starts, ends, lows, highs = _bounds(detections, truth)
    work = np.cumsum((ends - starts) * (highs - lows + 1))
    first = 0
    while first < len(groups):
        done = work[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(work, done + _BLOCK, side="right")))
        rows = slice(int(starts[first]), int(ends[last - 1]))
        yield rows, slice(int(lows[first]), int(highs[last - 1]))
        first = last


def find_pairs(detections: RankedDetections, truth: GroundTruth) -> Pairs:
    """Intersect the detections of every group with its boxes."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    corners = [_corners(detections.boxes), _corners(truth.boxes)]
    _, *bounds = _bounds(detections, truth)
    for start, end, low, high in np.stack(bounds, 1).tolist():
        step = max(1, _BLOCK // max(1, high - low))
        for begin in range(start, end if high > low else start, step):
            rows = slice(begin, min(end, begin + step))
            x1, y1, x2, y2 = (side[rows, None] for side in corners[0])
            left, top, right, bottom = (side[low:high] for side in corners[1])
            widths = np.minimum(x2, right) - np.maximum(x1, left)
            heights = np.minimum(y2, bottom) - np.maximum(y1, top)
            i, j = ((widths > 0) & (heights > 0)).nonzero()
            found.append((i + begin, j + low, widths[i, j] * heights[i, j]))
    if not found:
        nothing = np.zeros(0, dtype=np.int64)
        found.append((nothing, nothing, np.zeros(0)))
    rows, columns, intersections = map(np.concatenate, zip(*found, strict=True))
    areas = detections.areas[rows], truth.boxes[columns, 2:].prod(1)
    pairs = Pairs(rows, columns, intersections, *areas)
    return pairs[intersections > 0]  # not if the product is too small for a float


def _bounds(detections: RankedDetections, truth: GroundTruth) -> tuple[np.ndarray, ...]:
    """Return groups with detections, and where their detections and boxes lie."""
    groups, starts = np.unique(detections.groups, return_index=True)
    ends = np.append(starts[1:], len(detections.groups))[: len(groups)]
    lows = np.searchsorted(truth.groups, groups, side="left")
    return groups, starts, ends, lows, np.searchsorted(truth.groups, groups, "right")


def _corners(boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    x, y, width, height = boxes.T
    return x, y, x + width, y + height


@dataclass(frozen=True)
class Preferences:
    """What each detection may take, and what it prefers.

    Attributes:
        keys: ``(P, S)`` per pair and setting: -1, the detection may not take the box;
            else the detection takes the pair of its highest key. Within one setting
            keys are unique.
        pair_of_key: the pair that a key stands for.
        fallback: ``(P, S)`` pair that the detection of a pair takes where it may take
            none by its key, or -1; the same for all pairs of a detection. Such a
            box may have been taken before.
        exclusive: ``(G, S)`` a box that can be taken by its key only once.
    """

    keys: np.ndarray
    pair_of_key: np.ndarray
    fallback: np.ndarray | None
    exclusive: np.ndarray


def order_positions(*keys: np.ndarray) -> np.ndarray:
    """Return each element's place when sorted by the last key, then the one before."""
    order = np.lexsort(keys)
    positions = np.empty(len(order), dtype=np.int32)
    positions[order] = np.arange(len(order), dtype=np.int32)
    return positions


def best_pairs(
    detections: np.ndarray, order: np.ndarray, allowed: np.ndarray
) -> np.ndarray:
    """Return the allowed pair that each pair's detection prefers, or -1.

    Args:
        detections: ``(P,)`` sorted, P at least 1.
        order: ``(P,)`` different numbers; the highest is preferred.
        allowed: ``(P, S)``.

    Returns:
        ``(P, S)``.
    """
    starts = _starts(detections)
    keys = np.where(allowed, order[:, None], np.int32(-1))
    best = np.maximum.reduceat(keys, starts, axis=0)
    best = np.repeat(best, np.diff(starts, append=len(detections)), axis=0)
    return np.where(best >= 0, np.argsort(order)[best], -1)


def match(
    pairs: Pairs, ranks: np.ndarray, preferences: Preferences, matched: np.ndarray
) -> None:
    """Match the detections of some groups, highest rank first.

    Args:
        pairs: of whole groups, sorted by detection.
        ranks: ``(D,)`` place of each detection within its group.
        preferences: of these pairs.
        matched: ``(S, D)`` int32, gets the index of the box that each detection takes;
            what takes none is left as it is.
    """
    order = np.argsort(ranks[pairs.detections], kind="stable")
    detections, truths = pairs.detections[order], pairs.truths[order]
    keys = preferences.keys[order]
    starts = _starts(detections)
    free = np.ones_like(preferences.exclusive)
    fallback = preferences.fallback
    if fallback is not None:
        fallback = fallback[order[starts]]
    bounds = np.append(_starts(ranks[detections[starts]]), len(starts)).tolist()
    pair_ends = np.append(starts, len(order))
    for low, high in pairwise(bounds):
        begin, end = int(pair_ends[low]), int(pair_ends[high])
        left = np.where(free[truths[begin:end]], keys[begin:end], -1)
        best = np.maximum.reduceat(left, starts[low:high] - begin, axis=0)
        taken = np.where(best >= 0, preferences.pair_of_key[best], -1)
        if fallback is not None:
            taken = np.where(best >= 0, taken, fallback[low:high])
        rows, settings = (taken >= 0).nonzero()
        boxes = pairs.truths[taken[rows, settings]]
        matched[settings, detections[starts[low:high]][rows]] = boxes
        free[boxes, settings] &= ~preferences.exclusive[boxes, settings]


def count(
    truth: GroundTruth,
    ignored: np.ndarray,
    matched: np.ndarray,
    ranked: np.ndarray,
    ignored_unmatched: np.ndarray | None,
    options: EvaluationOptions,
) -> np.ndarray:
    """Return ``(S, D)`` what every detection counts as in every setting.

    Args:
        truth: the boxes.
        ignored: ``(G, B)`` boxes that need not be found.
        matched: ``(S, D)`` index of the box that was taken, or -1.
        ranked: ``(S, D)`` detections that are looked at.
        ignored_unmatched: ``(S, D)`` detections that are ignored unless they match.
        options: of the evaluation.
    """
    counts = np.where(ranked, FALSE, UNRANKED)
    counts = np.broadcast_to(counts, matched.shape).copy()
    if ignored_unmatched is not None:
        counts[(counts == FALSE) & ignored_unmatched] = IGNORED
    settings, rows = (matched >= 0).nonzero()
    boxes = matched[settings, rows]
    values = np.where(options.per_setting(ignored)[boxes, settings], IGNORED, TRUE)
    if options.rules.zero_id_is_no_match:
        unmatched = (truth.ids[boxes] == 0).astype(bool) & (values == TRUE)
        values[unmatched] = counts[settings, rows][unmatched]
    counts[settings, rows] = values
    return counts


def _starts(values: np.ndarray) -> np.ndarray:
    """Return where runs of equal values begin."""
    change = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=change[1:])
    return change.nonzero()[0]
