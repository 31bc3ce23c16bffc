"""Pictures of what a detector found and of how its training went."""

from .comparison import (
    DetectionSample,
    draw_samples,
    lie_in_ignored,
    load_samples,
    match_boxes,
)
from .training_curve import draw_training_curve, find_scalars, read_scalars

__all__ = [
    "DetectionSample",
    "draw_samples",
    "draw_training_curve",
    "find_scalars",
    "lie_in_ignored",
    "load_samples",
    "match_boxes",
    "read_scalars",
]
