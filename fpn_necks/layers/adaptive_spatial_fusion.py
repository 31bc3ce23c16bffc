"""Adaptive Spatial Fusion of AugFPN: one learned weight per map and position."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .level_fusion import weighted_sum
from .levels import check_channels


class AdaptiveSpatialFusion(nn.Module):
    """Fuse maps of one size by weight maps that are computed from all of them.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Fig. 3(a); used by Residual
    Feature Augmentation (Sec. 3.2) and by Soft RoI Selection (Sec. 3.3)::

        n maps (N, C, H, W) -> 1x1 conv, nC to C -> ReLU -> 3x3 conv, C to n -> sigmoid
                 |                                                                 |
                 +--------- times ------- weights (N, n, H, W) <-------------------+
                              |
                     sum over the maps -> (N, C, H, W)

    A weight lies in (0, 1). As in the released code each has a sigmoid of its own, not
    a softmax over the maps: the weights of a position do not sum to 1.

    The first convolution reads all maps at once. Its result is computed as the sum of
    one convolution per map, each with its own part of the kernel, so that the
    concatenation of the maps is never stored.

    Args:
        num_maps: number n of maps, at least 1.
        channels: width C of each map.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: an argument is below 1.
    """

    def __init__(self, num_maps: int, channels: int) -> None:
        super().__init__()
        self.num_maps = check_channels("num_maps", num_maps)
        self.channels = check_channels("channels", channels)
        self.reduce = nn.Conv2d(num_maps * channels, channels, 1)
        self.weigh = nn.Conv2d(channels, num_maps, 3, padding=1)

    def weights(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the weight of each map at each position.

        Args:
            maps: ``num_maps`` maps, ``(N, C, H, W)``.

        Returns:
            ``(N, num_maps, H, W)``, in (0, 1).

        Raises:
            ValueError: the number of maps differs from ``num_maps``.
        """
        if len(maps) != self.num_maps:
            raise ValueError(f"expected {self.num_maps} maps, got {len(maps)}")
        first_kernel, *kernels = self.reduce.weight.split(self.channels, dim=1)
        hidden = F.conv2d(maps[0], first_kernel, self.reduce.bias)
        for x, kernel in zip(maps[1:], kernels, strict=True):
            hidden = hidden + F.conv2d(x, kernel)
        return torch.sigmoid(self.weigh(F.relu(hidden)))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the sum of the maps times their weights, ``(N, C, H, W)``.

        Raises:
            ValueError: the number of maps differs from ``num_maps``.
        """
        return weighted_sum(maps, self.weights(maps))
