"""What the two metrics are asked to compute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .presets import Ranges, Rules

# COCO compares with a little less than 1, so that a perfect overlap can match.
_ALMOST_ONE = 1 - 1e-10


@dataclass(frozen=True)
class Settings:
    """Arguments of one metric.

    A setting is one bucket with one threshold; all of them are columns of one table,
    the thresholds of the first bucket first.

    Attributes:
        iou_thresholds: each in (0, 1].
        ranges: name to (low, high) in side pixels, both inclusive.
        max_detections: per image and category.
        ignore_uncertain: boxes with ``uncertain`` are ignored.
        use_iod_for_ignore: an unmatched detection that lies in an ignored box is
            ignored.
        use_ignore_attr: boxes with ``ignore`` are ignored.
        rules: quirks of the released evaluation.
    """

    iou_thresholds: tuple[float, ...]
    ranges: Ranges
    max_detections: int
    ignore_uncertain: bool
    use_iod_for_ignore: bool
    use_ignore_attr: bool
    rules: Rules

    @property
    def num_settings(self) -> int:
        """Number of buckets times number of thresholds."""
        return len(self.ranges) * len(self.iou_thresholds)

    @property
    def edges(self) -> np.ndarray:
        """``(2, B)`` low and high ends of the buckets."""
        return np.array(list(self.ranges.values()), dtype=np.float64).reshape(-1, 2).T

    @property
    def thresholds(self) -> np.ndarray:
        """``(S,)`` IoU threshold of every setting."""
        return np.tile(np.minimum(self.iou_thresholds, _ALMOST_ONE), len(self.ranges))

    def per_setting(self, per_bucket: np.ndarray) -> np.ndarray:
        """Repeat ``(N, B)`` columns for the thresholds: ``(N, S)``."""
        return np.repeat(per_bucket, len(self.iou_thresholds), axis=1)
