"""What a module costs: parameters, multiply-adds, time beside another, memory."""

from .counts import count_multiply_adds, count_parameters
from .memory import peak_memory
from .timing import PairedTimes, compare_times

__all__ = [
    "PairedTimes",
    "compare_times",
    "count_multiply_adds",
    "count_parameters",
    "peak_memory",
]
