import pytest
import torch
from torch import nn

from fpn_necks.costs import (
    PairedTimes,
    compare_times,
    count_multiply_adds,
    count_parameters,
    peak_memory,
)
from fpn_necks.costs.memory import peaks_of_segments
from fpn_necks.costs.timing import median_interval


def test_counts_of_a_conv() -> None:
    conv = nn.Conv2d(3, 5, 3, padding=1)
    assert count_parameters(conv) == 5 * 3 * 9 + 5
    assert count_multiply_adds(conv, torch.zeros(2, 3, 6, 7)) == 2 * 5 * 3 * 9 * 6 * 7
    assert conv.weight.device.type == "cpu", "the module itself must not move"
    pair = count_multiply_adds(
        conv, [torch.zeros(1, 3, 6, 7)], call=lambda twin, maps: twin(maps[0])
    )
    assert pair == 5 * 3 * 9 * 6 * 7


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
