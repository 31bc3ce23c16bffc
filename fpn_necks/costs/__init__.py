"""What a module costs: parameters, multiply-adds, time beside another, memory."""

from .count import count_costs, count_multiply_adds, count_parameters
from .timing import PairedTimes, compare_times, peak_memory

__all__ = [
    "PairedTimes",
    "compare_times",
    "count_costs",
    "count_multiply_adds",
    "count_parameters",
    "peak_memory",
]
