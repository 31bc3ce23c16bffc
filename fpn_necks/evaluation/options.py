"""The options of the evaluation, checked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .presets import (
    CORRECTED,
    RELEASED,
    TINY_PERSON_AP_RANGES,
    TINY_PERSON_IOU_THRESHOLDS,
    TINY_PERSON_MR_RANGES,
    Ranges,
    Rules,
)
from .settings import Settings

METRICS = ("ap", "mr")
_SWITCHES = (
    "ignore_uncertain",
    "use_iod_for_ignore",
    "use_ignore_attr",
    "merge_per_class",
    "merge_categories",
    "leave_out_dense",
)


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and by which rules; the defaults are the released script's.

    Args:
        metrics: ``'ap'`` and ``'mr'``, or one of them.
        released: ``True``: the released evaluation with its quirks, which published
            numbers were made with. ``False``: without them. Or single ``Rules``.
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
    released: bool | Rules = True
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
        if not isinstance(self.released, bool | Rules):
            raise TypeError(
                f"released must be True, False or Rules, got {self.released!r}"
            )
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(
                    f"{name} must be True or False, got {getattr(self, name)!r}"
                )
        _check_thresholds(self.iou_thresholds)
        for name in ("ap_ranges", "mr_ranges"):
            _check_ranges(name, getattr(self, name))
        for name in ("ap_max_detections", "mr_max_detections"):
            _check_count(name, getattr(self, name))
        if self.merge_nms is not None and not _is_share(self.merge_nms):
            raise ValueError(
                f"merge_nms must be in (0, 1] or None, got {self.merge_nms!r}"
            )

    @property
    def rules(self) -> Rules:
        """The quirks that are kept."""
        if isinstance(self.released, Rules):
            return self.released
        return RELEASED if self.released else CORRECTED

    def settings(self, metric: str) -> Settings:
        """Return what one metric needs."""
        return Settings(
            iou_thresholds=tuple(map(float, self.iou_thresholds)),
            ranges=self.ap_ranges if metric == "ap" else self.mr_ranges,
            max_detections=(
                self.ap_max_detections if metric == "ap" else self.mr_max_detections
            ),
            ignore_uncertain=self.ignore_uncertain,
            use_iod_for_ignore=self.use_iod_for_ignore,
            use_ignore_attr=self.use_ignore_attr,
            rules=self.rules,
        )


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 1


def _check_thresholds(thresholds: Any) -> None:
    fine = isinstance(thresholds, Sequence) and len(thresholds) > 0
    fine = fine and all(map(_is_share, thresholds))
    if not fine or len(set(thresholds)) < len(thresholds):
        raise ValueError(
            f"iou_thresholds must be different numbers in (0, 1], got {thresholds!r}"
        )


def _check_ranges(name: str, ranges: Any) -> None:
    if not isinstance(ranges, Mapping) or not ranges:
        raise TypeError(f"{name} must map names to (low, high), got {ranges!r}")
    for bucket, edges in ranges.items():
        fine = isinstance(edges, Sequence) and len(edges) == 2
        if not fine or not all(map(_is_number, edges)) or edges[0] > edges[1]:
            raise ValueError(
                f"{name}[{bucket!r}] must be (low, high) with low <= high, "
                f"got {edges!r}"
            )


def _check_count(name: str, count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {count!r}")
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
