"""What a module costs: parameters, multiply-adds, time beside another, memory."""

from .count import count_multiply_adds, count_parameters
from .timing import PairedTimes, peak_memory

__all__ = [
    "PairedTimes",
    "count_multiply_adds",
    "count_parameters",
    "peak_memory",
]
