"""The most memory that a computation holds at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def peak_memory(function: Callable[[], Any], device: str | torch.device = "cpu") -> int:
    """Return the bytes that ``function`` holds at most, beyond what was held before.

    On a processor the allocator's events are added up, so that the number is exact and
    does not depend on other processes; on a GPU it is the allocator's own peak.

    Args:
        function: takes nothing; what it returns is dropped at once. It is called twice:
            a first call may allocate what later ones reuse.
        device: where it computes.
    """
    function()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profiler:
        function()
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()  # negative where memory is given back
            peak = max(peak, held)
    return peak
