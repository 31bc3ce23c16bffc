import pytest
import torch

from fpn_necks.costs import PairedTimes, compare_times, peak_memory
from fpn_necks.costs.timing import (
    measure_in_turns,
    median_interval,
    peaks_of_segments,
)


def test_peak_memory_counts_what_is_held_at_a_time() -> None:
    def one_after_the_other():
        for _ in range(3):
            torch.zeros(1000, 250).add_(1)

    def together():
        return [torch.zeros(1000, 250) for _ in range(3)]

    assert peak_memory(one_after_the_other) == pytest.approx(1e6, rel=0.01)
    assert peak_memory(together) == pytest.approx(3e6, rel=0.01)


def test_peak_memory_sees_what_autograd_keeps() -> None:
    x = torch.ones(1000, 250, requires_grad=True)

    def forward(grad: bool) -> None:
        with torch.set_grad_enabled(grad):
            y = x
            for _ in range(4):
                y = y.sin()  # its gradient needs the input
            y.sum()

    assert peak_memory(lambda: forward(False)) == pytest.approx(2e6, rel=0.01)
    assert peak_memory(lambda: forward(True)) == pytest.approx(4e6, rel=0.01)


def test_peaks_of_parts_count_what_earlier_parts_hand_over() -> None:
    def run(cut):
        first = torch.zeros(1000, 250)
        cut()
        second = torch.zeros(2000, 250)
        del second
        cut()
        return first + 1

    assert peaks_of_segments(run) == pytest.approx([1e6, 3e6, 2e6], rel=0.01)


def test_times_are_taken_in_turns() -> None:
    order = []
    times = compare_times(lambda: order.append("a"), lambda: order.append("b"), 3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert len(times.base) == len(times.other) == 3


def test_turns_rotate() -> None:
    order: list[str] = []
    jobs = [lambda name=name: order.append(name) or name for name in "abc"]
    assert measure_in_turns(jobs, 3) == [["a"] * 3, ["b"] * 3, ["c"] * 3]
    assert "".join(order) == "abc" + "bca" + "cab"


def test_clock() -> None:
    ticks = iter(range(100))
    times = compare_times(int, int, 2, clock=lambda: float(next(ticks)))
    assert times.base == times.other == (1.0, 1.0)


def test_ratio_and_interval() -> None:
    base = tuple(1.0 for _ in range(15))
    other = tuple(float(i) for i in range(1, 16))
    times = PairedTimes(base, other[::-1])
    assert times.median_ratio == 8
    # Tables of the sign test: for 15 values the interval runs from the 4th to the 12th.
    assert times.interval == (4, 12)


def test_interval_of_few_values_is_their_range() -> None:
    assert median_interval([1.0, 2.0, 3.0]) == (1.0, 3.0)
    assert median_interval([1.0]) == (1.0, 1.0)
    # With six values the range covers 97 %, the next pair inwards less than 95 %.
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (1.0, 6.0)
