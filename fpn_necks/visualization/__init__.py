"""Pictures of what necks compute, of what a detector found and of its training."""

from .comparison import DetectionSample, draw_samples, load_samples
from .training_curve import draw_training_curve, find_scalars

__all__ = [
    "DetectionSample",
    "draw_samples",
    "draw_training_curve",
    "find_scalars",
    "load_samples",
]
