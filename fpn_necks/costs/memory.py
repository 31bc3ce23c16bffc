"""The most memory that a computation holds at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

_CUT = "fpn_necks.costs.memory: cut"


def peak_memory(function: Callable[[], Any], device: str | torch.device = "cpu") -> int:
    """Return the bytes that ``function`` holds at most, beyond what was held before.

    On a processor the allocator's events are added up, so that the number is exact and
    does not depend on other processes; on a GPU it is the allocator's own peak.

    Args:
        function: takes nothing; what it returns is dropped at once. It is called twice:
            a first call may allocate what later ones reuse.
        device: where it computes.
    """
    return max(peaks_of_segments(lambda cut: function(), device))


def peaks_of_segments(
    function: Callable[[Callable[[], None]], Any], device: str | torch.device = "cpu"
) -> list[int]:
    """Return the peak memory of each part of a computation.

    Args:
        function: gets a function ``cut`` to call wherever a part ends and the next
            begins; called twice, as by ``peak_memory``.
        device: where it computes.

    Returns:
        For each part the bytes that are held at most while it runs, beyond what was
        held before the first part: what earlier parts hand over counts. One more than
        there are cuts.
    """
    function(lambda: None)
    if torch.device(device).type == "cuda":
        return _peaks_on_gpu(function, device)
    options: dict[str, Any] = dict(profile_memory=True)
    if "acc_events" in inspect.signature(profile).parameters:  # not in torch 2.1
        options["acc_events"] = True
    with profile(activities=[ProfilerActivity.CPU], **options) as profiler:
        function(_mark)
    events = profiler.profiler.kineto_results.events()
    changes = [
        (_start(event), event.nbytes() if event.name() == "[memory]" else None)
        for event in events
        if event.name() in ("[memory]", _CUT)
    ]
    held, peaks = 0, [0]
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        if change is None:
            peaks.append(held)
        else:
            held += change  # negative where memory is given back
            peaks[-1] = max(peaks[-1], held)
    return peaks


def _start(event: Any) -> int:
    # torch 2.1 has microseconds.
    return event.start_ns() if hasattr(event, "start_ns") else event.start_us()


def _mark() -> None:
    with record_function(_CUT):
        pass


def _peaks_on_gpu(
    function: Callable[[Callable[[], None]], Any], device: str | torch.device
) -> list[int]:
    # The allocator counts when work is queued, not when it is done: no waiting needed.
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    peaks: list[int] = []

    def cut() -> None:
        peaks.append(torch.cuda.max_memory_allocated(device) - before)
        torch.cuda.reset_peak_memory_stats(device)

    function(cut)
    cut()
    torch.cuda.synchronize(device)
    return peaks
