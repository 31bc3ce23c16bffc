import pytest
import torch

from fpn_necks.costs import PairedTimes, peak_memory
from fpn_necks.costs.timing import measure_in_turns, seconds_of


def test_peak_memory_counts_what_is_held_at_a_time() -> None:
    def one_after_the_other() -> None:
        for _ in range(3):
            torch.zeros(1000, 250).add_(1)

    def together() -> list[torch.Tensor]:
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


def test_measurements_take_turns() -> None:
    order: list[str] = []
    jobs = [lambda name=name: order.append(name) or name for name in "abc"]
    assert measure_in_turns(jobs, 3) == [["a"] * 3, ["b"] * 3, ["c"] * 3]
    assert "".join(order) == "abc" + "bca" + "cab"
    ticks = iter(range(100))
    assert seconds_of(int, "cpu", lambda: float(next(ticks))) == 1


@pytest.mark.parametrize(
    ("ratios", "median", "interval"),
    [
        # Tables of the sign test: for 15 values it runs from the 4th to the 12th.
        (range(1, 16), 8, (4, 12)),
        # Six values cover 97 %, the next pair inwards less than 95 %.
        (range(1, 7), 3.5, (1, 6)),
        (range(1, 4), 2, (1, 3)),  # the range of a few
        ([1], 1, (1, 1)),
    ],
)
def test_ratio_and_interval(ratios: list[int], median: float, interval: tuple) -> None:
    other = tuple(map(float, reversed(ratios)))
    times = PairedTimes((1.0,) * len(other), other)
    assert (times.median_ratio, times.interval) == (median, interval)
