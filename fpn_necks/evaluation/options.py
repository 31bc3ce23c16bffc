"""The options of the evaluation, and the size ranges of the benchmarks.

Ranges are in side pixels, √area, both ends inclusive: a box exactly on an edge counts
in both buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..layers.arguments import check_int, check_list, check_number

Ranges = Mapping[str, tuple[float, float]]

METRICS = ("ap", "mr")
TINY_PERSON_IOU_THRESHOLDS = (0.25, 0.5, 0.75)
TINY_PERSON_AP_RANGES: Ranges = {
    "all": (1, 1e5),
    "tiny": (1, 20),
    "tiny1": (1, 8),
    "tiny2": (8, 12),
    "tiny3": (12, 20),
    "small": (20, 32),
    "reasonable": (32, 1e5),
}
# The released miss rate starts at 2 pixels where the average precision starts at 1.
TINY_PERSON_MR_RANGES: Ranges = {
    "tiny": (2, 20),
    "tiny1": (2, 8),
    "tiny2": (8, 12),
    "tiny3": (12, 20),
    "small": (20, 32),
    "all": (-1, 1e10),
}
# Wang et al., "Tiny Object Detection in Aerial Images", ICPR 2020, name the ranges very
# tiny [2, 8], tiny [8, 16], small [16, 32] and medium [32, 64]. Their evaluation code
# leaves both outer ends open, so that the few boxes beyond them are counted; so do we.
AI_TOD_RANGES: Ranges = {
    "all": (0, 1e5),
    "very_tiny": (0, 8),
    "tiny": (8, 16),
    "small": (16, 32),
    "medium": (32, 1e5),
}
# COCO compares with a little less than 1, so that a perfect overlap can match.
_ALMOST_ONE = 1 - 1e-10

# Keyword arguments of evaluate_tiny_person and TinyPersonMetric. AI-TOD is evaluated by
# the plain rules of COCO, with more detections.
AI_TOD = dict(
    metrics=("ap",),
    released=False,
    ignore_uncertain=False,
    use_iod_for_ignore=False,
    use_ignore_attr=False,
    iou_thresholds=tuple(round(0.5 + 0.05 * i, 2) for i in range(10)),
    ap_ranges=AI_TOD_RANGES,
    ap_max_detections=1500,
)


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and by which rules; the defaults are the released script's.

    What the quirks of the released script are says ``docs/tiny_person.md``.

    Args:
        metrics: ``'ap'`` and ``'mr'``, or one of them.
        released: with the quirks, which published numbers were made with.
        ignore_uncertain: boxes with ``uncertain`` are ignored: neither to be found, nor
            is it wrong to find them.
        use_iod_for_ignore: detections that lie in an ignored box are ignored.
        use_ignore_attr: boxes with ``ignore`` are ignored; ``False`` makes them
            ordinary boxes (the released miss rate takes no notice).
        iou_thresholds: each in (0, 1].
        ap_ranges: bucket name to (low, high) of √area in pixels, both inclusive.
        mr_ranges: the same for the miss rate.
        ap_max_detections: per image and category, those of the highest scores.
        mr_max_detections: the same for the miss rate.
        merge_nms: IoU in (0, 1] of the NMS that merges tiles; ``None``: no NMS.
        merge_per_class: that NMS acts within a category.
        merge_categories: all categories count as one, as sea and earth persons do.
        leave_out_dense: images with a box that carries ``in_dense_image`` are not
            evaluated, and detections on them are not counted.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: an option has a value that is not allowed.
    """

    metrics: str | Sequence[str] = METRICS
    released: bool = True
    ignore_uncertain: bool = True
    use_iod_for_ignore: bool = True
    use_ignore_attr: bool = True
    iou_thresholds: Sequence[float] = TINY_PERSON_IOU_THRESHOLDS
    ap_ranges: Ranges = field(default_factory=lambda: TINY_PERSON_AP_RANGES)
    mr_ranges: Ranges = field(default_factory=lambda: TINY_PERSON_MR_RANGES)
    ap_max_detections: int = 200
    mr_max_detections: int = 1000
    merge_nms: float | None = 0.5
    merge_per_class: bool = False
    merge_categories: bool = False
    leave_out_dense: bool = False

    def __post_init__(self) -> None:
        metrics = (self.metrics,) if isinstance(self.metrics, str) else self.metrics
        if not metrics or not set(metrics) <= set(METRICS):
            raise ValueError(f"metrics must be some of {METRICS}, got {self.metrics!r}")
        object.__setattr__(self, "metrics", tuple(metrics))
        for threshold in check_list("iou_thresholds", self.iou_thresholds):
            check_number("iou_thresholds", threshold, above=0, maximum=1)
        for metric in METRICS:
            limit = f"{metric}_max_detections"
            check_int(limit, getattr(self, limit))
            if not all(low <= high for low, high in self.ranges(metric).values()):
                raise ValueError(
                    f"{metric}_ranges must map names to (low, high) with low <= high, "
                    f"got {self.ranges(metric)!r}"
                )

    def ranges(self, metric: str) -> Ranges:
        """Return the buckets of ``'ap'`` or ``'mr'``."""
        return self.ap_ranges if metric == "ap" else self.mr_ranges

    def edges(self, metric: str) -> np.ndarray:
        """Return ``(2, B)`` low and high ends of the buckets."""
        return np.array(list(self.ranges(metric).values()), dtype=np.float64).T

    def thresholds(self, metric: str) -> np.ndarray:
        """Return ``(S,)`` the IoU threshold of every bucket and threshold.

        A setting is one bucket with one threshold; the thresholds of the first bucket
        come first.
        """
        limited = np.minimum(self.iou_thresholds, _ALMOST_ONE)
        return np.tile(limited, len(self.ranges(metric)))

    def per_setting(self, per_bucket: np.ndarray) -> np.ndarray:
        """Repeat ``(N, B)`` columns for the thresholds: ``(N, S)``."""
        return np.repeat(per_bucket, len(self.iou_thresholds), axis=1)
