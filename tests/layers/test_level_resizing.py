import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fpn_necks.layers import LevelResizing, check_level_order
from tests.neck_cases import backbone_maps

WIDTHS = [4, 6, 6, 10, 4]


def pyramid(size: tuple[int, int], levels: int = 5, rounding=math.ceil) -> list[Tensor]:
    return backbone_maps(size, channels=WIDTHS[:levels], rounding=rounding)


@pytest.mark.parametrize("target", range(5))
@pytest.mark.parametrize("size", [(97, 130), (16, 16)], ids=str)
@pytest.mark.parametrize("rounding", [math.ceil, math.floor])
@pytest.mark.parametrize("order", ["fine_to_coarse", "coarse_to_fine"])
def test_every_level_gets_size_and_width_of_the_target(
    target: int, size: tuple[int, int], rounding, order: str
) -> None:
    widths, maps = WIDTHS, pyramid(size, rounding=rounding)
    if order == "coarse_to_fine":
        widths, maps = widths[::-1], maps[::-1]
    resized = LevelResizing(widths, target, order, {})(maps)
    assert all(x.shape == maps[target].shape for x in resized)
    assert resized[target] is maps[target]


def test_coarser_levels_are_narrowed_then_repeated() -> None:
    maps = pyramid((64, 96))
    resizing = LevelResizing(WIDTHS, 1, "fine_to_coarse", {})
    calls = []
    resizing.convs[3].register_forward_hook(lambda _, x, y: calls.append(y))
    resized = resizing(maps)
    assert calls[0].shape == (2, 6, 8, 12), "the conv must run at the small size"
    assert torch.equal(resized[3], F.interpolate(calls[0], scale_factor=4))
    # Equal widths: no conv.
    assert torch.equal(resized[2], F.interpolate(maps[2], scale_factor=2))


def test_order_of_levels() -> None:
    """The necks' refusals have the rest; here sides of one pixel."""
    for size in ((7, 5), (1, 1)):
        check_level_order(pyramid(size), "fine_to_coarse")
        check_level_order(pyramid(size)[::-1], "coarse_to_fine")
    for size in ((1, 5), (5, 1)):
        message = r"order is 'coarse_to_fine', but .* are \[\((1, 5|5, 1)\)"
        with pytest.raises(ValueError, match=message):
            check_level_order(pyramid(size, 2), "coarse_to_fine")
