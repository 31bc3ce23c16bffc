"""Bring every level of a pyramid to the size and the width of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .arguments import check_choice, check_int
from .conv_block import ConvSettings, conv_block
from .pyramid import fit_to

LEVEL_ORDERS = ("fine_to_coarse", "coarse_to_fine")


class LevelResizing(nn.Module):
    """Resize all levels to one of them.

    Liu et al., "Learning Spatial Fusion for Single-Shot Object Detection"
    (arXiv 1911.09516), Sec. 3.2, with one level to the next being a factor of two:

    - a coarser level: 1x1 conv block to the target's width, which is left out where the
      widths are equal, then nearest interpolation;
    - a level finer by 2^n: n - 1 times 3x3 max pooling with stride 2, then a 3x3 conv
      block with stride 2 to the target's width.

    Maps always end in the target's size, also where sides do not halve exactly.

    Args:
        in_channels: width of each level.
        target: index of the level whose size and width the others get.
        order: ``'fine_to_coarse'`` or ``'coarse_to_fine'``: how levels are ordered.
        settings: conv, norm and activation of each block.

    Raises:
        ValueError: ``order`` is neither, or there is no level ``target``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        target: int,
        order: str,
        settings: ConvSettings,
    ) -> None:
        super().__init__()
        check_choice("order", order, LEVEL_ORDERS)
        self.target = check_int("target", target, 0, len(in_channels) - 1)
        finer = 1 if order == "fine_to_coarse" else -1
        # How often a level is halved to reach the target; below 0 it is coarser.
        self.halvings = [(target - i) * finer for i in range(len(in_channels))]
        width = in_channels[target]
        self.convs = nn.ModuleList(
            _resizing_conv(channels, width, halvings, settings)
            for channels, halvings in zip(in_channels, self.halvings, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map ``(N, C_i, H_i, W_i)`` to ``(N, C_target, H_target, W_target)`` each."""
        return [fit_to(x, maps[self.target]) for x in self.convolve(maps)]

    def convolve(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Do all of ``forward`` but the enlarging of coarser levels."""
        convolved = []
        for x, conv, halvings in zip(maps, self.convs, self.halvings, strict=True):
            for _ in range(halvings - 1):
                x = F.max_pool2d(x, 3, stride=2, padding=1)
            x = conv(x)
            convolved.append(fit_to(x, maps[self.target]) if halvings > 0 else x)
        return convolved


def check_level_order(maps: Sequence[Tensor], order: str) -> None:
    """Raise a ValueError if maps are not in this order; a trace has no such test."""
    if torch.jit.is_tracing():
        return
    sizes = [tuple(x.shape[2:]) for x in maps]
    from_fine = sizes if order == "fine_to_coarse" else sizes[::-1]
    for finer, coarser in pairwise(from_fine):
        if finer[0] < coarser[0] or finer[1] < coarser[1]:
            raise ValueError(
                f"order is {order!r}, but the maps (height, width) are {sizes}"
            )


def _resizing_conv(
    channels: int, width: int, halvings: int, settings: ConvSettings
) -> nn.Module:
    if halvings > 0:
        return conv_block(channels, width, 3, stride=2, padding=1, **settings)
    if channels != width:
        return conv_block(channels, width, 1, **settings)
    return nn.Identity()
