"""How objects spread over pyramid levels, and the fusion factors that follow."""

from .annotation_boxes import AnnotationBoxes, build_dataset, read_boxes
from .estimate import (
    FusionFactorEstimate,
    estimate,
    estimate_from_config,
    find_detector,
)
from .level_counts import (
    best_anchors,
    count_best_levels,
    count_regress_range_levels,
)
from .positive_anchors import count_positive_anchors
from .ratios import fusion_factors

__all__ = [
    "AnnotationBoxes",
    "FusionFactorEstimate",
    "best_anchors",
    "build_dataset",
    "count_best_levels",
    "count_positive_anchors",
    "count_regress_range_levels",
    "estimate",
    "estimate_from_config",
    "find_detector",
    "fusion_factors",
    "read_boxes",
]
