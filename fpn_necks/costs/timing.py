"""Times of computations side by side, and the most memory that one holds."""

from __future__ import annotations

import inspect
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile, record_function

_CUT = "fpn_necks.costs: cut"
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


def compare_times(
    base: Callable[[], Any],
    other: Callable[[], Any],
    pairs: int,
    device: str | torch.device = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> PairedTimes:
    """Time two functions in turns, after one run of each that is not counted.

    Which of the two goes first changes from pair to pair, so that a slow drift of the
    machine favours neither.

    Args:
        base: what is compared with.
        other: what is compared.
        pairs: number of runs of each that count.
        device: where they compute; a GPU is waited for.
        clock: returns seconds. ``time.process_time`` leaves out the time that other
            processes take; it is for one thread on a processor, since it adds threads.
    """
    for function in (base, other):
        function()
    times = measure_in_turns(
        [lambda f=f: seconds_of(f, device, clock) for f in (base, other)], pairs
    )
    return PairedTimes(*map(tuple, times))


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
    """Return the seconds of one call; arguments as of ``compare_times``."""
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
    return max(peaks_of_segments(lambda cut: function(), device))


def peaks_of_segments(
    function: Callable[[Callable[[], None]], Any], device: str | torch.device = "cpu"
) -> list[int]:
    """Return the peak memory of each part of a computation, as ``peak_memory`` has it.

    Args:
        function: gets a function ``cut`` to call wherever a part ends.
        device: where it computes.

    Returns:
        For each part the bytes that are held at most while it runs, beyond what was
        held before the first part: what earlier parts hand over counts.
    """
    function(lambda: None)
    if torch.device(device).type == "cuda":
        return _peaks_on_gpu(function, device)
    accumulates = "acc_events" in inspect.signature(profile).parameters  # not in 2.1
    options = dict(acc_events=True) if accumulates else {}
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, **options) as profiler:
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
