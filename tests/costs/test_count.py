"""Parameters and multiply-adds, counted on the meta device."""

import torch
from torch import nn

from fpn_necks.costs import count_multiply_adds, count_parameters


def test_counts_of_a_conv() -> None:
    conv = nn.Conv2d(3, 5, 3, padding=1)
    assert count_parameters(conv) == 5 * 3 * 9 + 5
    assert count_multiply_adds(conv, torch.zeros(2, 3, 6, 7)) == 2 * 5 * 3 * 9 * 6 * 7
    assert conv.weight.device.type == "cpu", "the module itself must not move"
    maps = [torch.zeros(1, 3, 6, 7)]
    pair = count_multiply_adds(conv, maps, call=lambda twin, maps: twin(maps[0]))
    assert pair == 5 * 3 * 9 * 6 * 7
