"""Evaluation of tiny-object detections; importing it registers ``TinyPersonMetric``.

All but the metric is plain numpy.
"""

from .merge_tiles import merge_tiles
from .options import AI_TOD, EvaluationOptions
from .tiny_person import average_over_thresholds, evaluate_tiny_person
from .tiny_person_metric import TinyPersonMetric

__all__ = [
    "AI_TOD",
    "EvaluationOptions",
    "TinyPersonMetric",
    "average_over_thresholds",
    "evaluate_tiny_person",
    "merge_tiles",
]
