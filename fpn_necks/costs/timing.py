"""Times of computations side by side, and the most memory that one holds."""

from __future__ import annotations

import inspect
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class PairedTimes:
    """Times of pairs of runs, each pair taken one run right after the other.

    Args:
        base: seconds of what is compared with.
        other: seconds of what is compared.
    """

    base: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """``other / base`` of each pair, in ascending order."""
        pairs = zip(self.other, self.base, strict=True)
        return sorted(other / base for other, base in pairs)

    @property
    def median_ratio(self) -> float:
        """Median of the pairs' ratios."""
        return statistics.median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """Interval that holds the true median with at least 95 %, where pairs suffice.

        It runs between two of the sorted ratios (the sign test's interval), and so
        assumes nothing about the noise. With fewer than six pairs it is the whole
        range, which covers less.
        """
        ratios, outside, cut = self.ratios, 0.0, 0
        for rank in range(len(ratios) // 2):
            outside += 2 * math.comb(len(ratios), rank) / 2 ** len(ratios)
            if outside > 0.05:
                break
            cut = rank
        return ratios[cut], ratios[-1 - cut]


def measure_in_turns(
    measurements: Sequence[Callable[[], Measured]], rounds: int
) -> list[list[Measured]]:
    """Return what each measurement gave, round by round.

    Each round begins with another one, so that a slow drift favours none.
    """
    results: list[list[Measured]] = [[] for _ in measurements]
    order = list(range(len(measurements)))
    for _ in range(rounds):
        for index in order:
            results[index].append(measurements[index]())
        order = [*order[1:], order[0]]
    return results


def seconds_of(
    function: Callable[[], Any],
    device: str | torch.device,
    clock: Callable[[], float],
) -> float:
    """Return the seconds of one call by a clock; a GPU is waited for."""
    on_gpu = torch.device(device).type == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda device: None
    wait(device)
    start = clock()
    function()
    wait(device)
    return clock() - start


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
        # Counted when work is queued, not when it is done: no waiting needed.
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    accumulates = "acc_events" in inspect.signature(profile).parameters  # not in 2.1
    options = dict(acc_events=True) if accumulates else {}
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, **options) as profiler:
        function()
    events = profiler.profiler.kineto_results.events()
    # Negative where memory is given back.
    changes = [(_start(x), x.nbytes()) for x in events if x.name() == "[memory]"]
    changes.sort(key=lambda pair: pair[0])
    return max(accumulate(change for _, change in changes), default=0)


def _start(event: Any) -> int:
    # torch 2.1 has microseconds.
    return event.start_ns() if hasattr(event, "start_ns") else event.start_us()
