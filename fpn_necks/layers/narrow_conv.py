"""A 3x3 convolution to very few channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .constants import made_once


class NarrowConv(nn.Conv2d):
    """A 3x3 convolution, padded by 1, to very few channels.

    A 1x1 convolution gives nine maps per output channel, one for each entry of the
    kernel, which are then shifted and added. Parameters and results are those of
    ``Conv2d``; on a CPU the plain form takes about five times as long for one or two
    channels. A linear map before the 1x1 convolution can be merged into it.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        return self.shift_and_add(F.conv2d(x, self.products()[:, :, None, None]))

    def products(self) -> Tensor:
        """Return the 1x1 convolution's weight, ``(9 * out_channels, in_channels)``."""
        return self.weight.permute(0, 2, 3, 1).reshape(-1, self.in_channels)

    def shift_and_add(self, x: Tensor) -> Tensor:
        """Map ``(N, 9 * out_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        shifts = _shifts(x, self.out_channels)
        return F.conv_transpose2d(
            x, shifts, self.bias, padding=1, groups=self.out_channels
        )


@made_once
def _shifts(groups: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Not of this type at once: in torch 2.1 eye knows no bfloat16.
    # A transposed convolution shifts the other way: hence the flip.
    shifts = torch.eye(9, device=device).to(dtype).flip(0)
    return shifts.reshape(9, 1, 3, 3).repeat(groups, 1, 1, 1)
