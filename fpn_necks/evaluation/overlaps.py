"""Which detections overlap which boxes: computed once, for all metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Detections times boxes that are compared at once: 8 bytes and a few copies each.
_BLOCK = 1_000_000


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

    def __getitem__(self, index: slice | np.ndarray) -> Pairs:
        return Pairs(
            self.detections[index],
            self.truths[index],
            self.intersections[index],
            self.detection_areas[index],
            self.truth_areas[index],
        )

    @property
    def iou(self) -> np.ndarray:
        """``(P,)`` intersection over union."""
        union = self.detection_areas + self.truth_areas - self.intersections
        return self.intersections / union

    @property
    def iod(self) -> np.ndarray:
        """``(P,)`` intersection over the area of the detection."""
        return self.intersections / self.detection_areas


def find_pairs(
    detection_boxes: np.ndarray,
    detection_groups: np.ndarray,
    truth_boxes: np.ndarray,
    truth_groups: np.ndarray,
) -> Pairs:
    """Intersect the detections of every group with its boxes.

    Args:
        detection_boxes: ``(D, 4)`` (x, y, width, height).
        detection_groups: ``(D,)`` sorted.
        truth_boxes: ``(G, 4)`` (x, y, width, height).
        truth_groups: ``(G,)`` sorted.
    """
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    corners = [_corners(detection_boxes), _corners(truth_boxes)]
    for rows, columns in _blocks(detection_groups, truth_groups):
        x1, y1, x2, y2 = (side[rows, None] for side in corners[0])
        left, top, right, bottom = (side[columns] for side in corners[1])
        widths = np.minimum(x2, right) - np.maximum(x1, left)
        heights = np.minimum(y2, bottom) - np.maximum(y1, top)
        overlapping = (widths > 0) & (heights > 0)
        i, j = overlapping.nonzero()
        intersections = widths[i, j] * heights[i, j]
        found.append((i + rows.start, j + columns.start, intersections))
    if not found:
        nothing = np.zeros(0, dtype=np.int64)
        found.append((nothing, nothing, np.zeros(0)))
    detections, truths, intersections = map(np.concatenate, zip(*found, strict=True))
    pairs = Pairs(
        detections,
        truths,
        intersections,
        detection_boxes[detections, 2] * detection_boxes[detections, 3],
        truth_boxes[truths, 2] * truth_boxes[truths, 3],
    )
    return pairs[intersections > 0]  # not if the product is too small for a float


def _corners(boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    x, y, width, height = boxes.T
    return x, y, x + width, y + height


def _blocks(
    detection_groups: np.ndarray, truth_groups: np.ndarray
) -> Iterator[tuple[slice, slice]]:
    groups = np.unique(detection_groups)
    starts = np.searchsorted(detection_groups, groups, side="left")
    ends = np.searchsorted(detection_groups, groups, side="right")
    lows = np.searchsorted(truth_groups, groups, side="left")
    highs = np.searchsorted(truth_groups, groups, side="right")
    bounds = np.stack([starts, ends, lows, highs], 1)[highs > lows].tolist()
    for start, end, low, high in bounds:
        step = max(1, _BLOCK // (high - low))
        for first in range(start, end, step):
            yield slice(first, min(end, first + step)), slice(low, high)
