"""How objects spread over pyramid levels, and the fusion factors that follow."""

from .annotation_boxes import AnnotationBoxes, build_dataset, read_boxes
from .estimate import (
    FusionFactorEstimate,
    count_connections,
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
from .ratios import fusion_factors, unsuitable_data

__all__ = [
    "AnnotationBoxes",
    "FusionFactorEstimate",
    "best_anchors",
    "build_dataset",
    "count_best_levels",
    "count_connections",
    "count_positive_anchors",
    "count_regress_range_levels",
    "estimate",
    "estimate_from_config",
    "find_detector",
    "fusion_factors",
    "read_boxes",
    "unsuitable_data",
]
