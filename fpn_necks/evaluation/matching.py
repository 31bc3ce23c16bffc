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
        iou: ``(P,)`` intersection over union.
        iod: ``(P,)`` intersection over the area of the detection.
        area_ratios: ``(P,)`` the box's ``area`` over that of the detection.
    """

    detections: np.ndarray
    truths: np.ndarray
    iou: np.ndarray
    iod: np.ndarray
    area_ratios: np.ndarray

    def __getitem__(self, index: np.ndarray) -> Pairs:
        return Pairs(*(column[index] for column in vars(self).values()))

    def derived_iod(self, overlap: np.ndarray) -> np.ndarray:
        """Return the released code's IoD, which is right where the overlap is the IoU.

        For crowd boxes, and for ignored ones of the miss rate, it is the IoD itself.
        """
        return overlap / (1 + overlap) * (1 + self.area_ratios)


def blocks(
    detections: RankedDetections, truth: GroundTruth
) -> Iterator[tuple[slice, slice]]:
    """Yield detections and boxes in pieces of bounded work, of whole groups."""
    groups, counts = np.unique(detections.groups, return_counts=True)
    boxes = np.searchsorted(truth.groups, groups, "right")
    boxes -= np.searchsorted(truth.groups, groups, "left")
    block = np.cumsum(counts * (boxes + 1)) // _BLOCK
    firsts = [*groups[_starts(block)], len(truth.image_ids) * len(truth.category_ids)]
    for ends in pairwise(firsts):
        yield (
            slice(*np.searchsorted(detections.groups, ends)),
            slice(*np.searchsorted(truth.groups, ends)),
        )


def find_pairs(detections: RankedDetections, truth: GroundTruth) -> Pairs:
    """Intersect the detections of every group with its boxes."""
    nothing = np.zeros(0, dtype=np.int64)
    found = [(nothing, nothing, np.zeros(0))]
    corners = [_corners(detections.boxes), _corners(truth.boxes)]
    firsts = _starts(detections.groups)
    bounds = [firsts, np.append(firsts[1:], len(detections.groups))]
    for side in ("left", "right"):
        bounds.append(np.searchsorted(truth.groups, detections.groups[firsts], side))
    # Group by group: a small matrix stays in the cache.
    for start, end, low, high in np.stack(bounds, 1).tolist():
        x1, y1, x2, y2 = (side[start:end, None] for side in corners[0])
        left, top, right, bottom = (side[low:high] for side in corners[1])
        widths = np.minimum(x2, right) - np.maximum(x1, left)
        heights = np.minimum(y2, bottom) - np.maximum(y1, top)
        i, j = ((widths > 0) & (heights > 0)).nonzero()
        found.append((i + start, j + low, widths[i, j] * heights[i, j]))
    rows, columns, shared = map(np.concatenate, zip(*found, strict=True))
    meets = shared > 0  # not if the product is too small for a float
    rows, columns, shared = rows[meets], columns[meets], shared[meets]
    areas = detections.areas[rows]
    return Pairs(
        detections=rows,
        truths=columns,
        iou=shared / (areas + truth.boxes[columns, 2:].prod(1) - shared),
        iod=shared / areas,
        area_ratios=truth.areas[columns] / areas,
    )


def order_positions(*keys: np.ndarray) -> np.ndarray:
    """Return each element's place when sorted by the last key, then the one before."""
    order = np.lexsort(keys)
    positions = np.empty(len(order), dtype=np.int32)
    positions[order] = np.arange(len(order), dtype=np.int32)
    return positions


def match(
    pairs: Pairs,
    ranks: np.ndarray,
    orders: tuple[np.ndarray, np.ndarray],
    ignored: np.ndarray,
    allowed: np.ndarray,
    exclusive: np.ndarray,
    fallback: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """Match the detections of some groups, highest rank first.

    A detection takes the box of highest order among those that count; if it may take
    none of them, among the ignored ones; and if none of them, by the fallback.

    Args:
        pairs: of whole groups, sorted by detection.
        ranks: ``(D,)`` place of each detection within its group.
        orders: of boxes that are ignored, and of those that count: ``(P,)`` int32, each
            number from 0 once.
        ignored: ``(P, S)`` whether the box of a pair is ignored.
        allowed: ``(P, S)`` whether the detection of a pair may take the box.
        exclusive: ``(G, S)`` whether a box can be taken only once, but by the fallback.
        fallback: an order and what is allowed, as above.

    Returns:
        ``(S, D)`` int32 index of the box that each detection takes, or -1.
    """
    matched = np.full((allowed.shape[1], len(ranks)), -1, dtype=np.int32)
    if not len(allowed):
        return matched
    keys = np.where(
        ignored, orders[0][:, None], orders[1][:, None] + np.int32(len(allowed))
    )
    keys[~allowed] = -1
    order = np.argsort(ranks[pairs.detections], kind="stable")
    detections, truths = pairs.detections[order], pairs.truths[order]
    starts = _starts(detections)
    keys = keys[order]
    pair_of_key = np.concatenate([np.argsort(positions) for positions in orders])
    others = None
    if fallback is not None:
        best = np.where(fallback[1], fallback[0][:, None], np.int32(-1))[order]
        best = np.maximum.reduceat(best, starts, axis=0)
        others = np.where(best >= 0, np.argsort(fallback[0])[best], -1)
    free = np.ones_like(exclusive)
    bounds = np.append(_starts(ranks[detections[starts]]), len(starts)).tolist()
    pair_ends = np.append(starts, len(order))
    for low, high in pairwise(bounds):
        begin, end = int(pair_ends[low]), int(pair_ends[high])
        left = np.where(free[truths[begin:end]], keys[begin:end], -1)
        best = np.maximum.reduceat(left, starts[low:high] - begin, axis=0)
        rest = -1 if others is None else others[low:high]
        taken = np.where(best >= 0, pair_of_key[best], rest)
        rows, settings = (taken >= 0).nonzero()
        boxes = pairs.truths[taken[rows, settings]]
        matched[settings, detections[starts[low:high]][rows]] = boxes
        free[boxes, settings] &= ~exclusive[boxes, settings]
    return matched


def count(
    truth: GroundTruth,
    ignored: np.ndarray,
    matched: np.ndarray,
    unmatched: np.ndarray,
    options: EvaluationOptions,
) -> np.ndarray:
    """Return ``(S, D)`` what every detection counts as in every setting.

    ``ignored`` ``(G, B)`` boxes need not be found, ``matched`` ``(S, D)`` are taken,
    ``unmatched`` ``(S, D)`` is what the detections count as that take none.
    """
    counts = unmatched.copy()
    settings, rows = (matched >= 0).nonzero()
    boxes = matched[settings, rows]
    values = np.where(options.per_setting(ignored)[boxes, settings], IGNORED, TRUE)
    if options.released:
        zero = (truth.ids[boxes] == 0).astype(bool) & (values == TRUE)
        values[zero] = unmatched[settings, rows][zero]
    counts[settings, rows] = values
    return counts


def _starts(values: np.ndarray) -> np.ndarray:
    """Return where runs of equal values begin."""
    change = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=change[1:])
    return change.nonzero()[0]


def _corners(boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    x, y, width, height = boxes.T
    return x, y, x + width, y + height
