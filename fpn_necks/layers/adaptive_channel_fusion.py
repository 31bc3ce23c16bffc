"""Adaptive Channel Fusion of AugFPN: one learned weight per map and channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .level_fusion import weighted_sum
from .levels import check_channels


class AdaptiveChannelFusion(nn.Module):
    """Fuse maps of one size by channel weights that are computed from all of them.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Fig. 3(b); the row "ACF" of
    Table 5::

        n maps (N, C, H, W) -> average over H, W -> 1x1 conv, nC to C -> ReLU
                 |                                                         |
                 |                               1x1 conv, C to nC -> sigmoid
                 +------- times ------- weights (N, n, C) <----------------+
                            |
                   sum over the maps -> (N, C, H, W)

    It was not released, and the paper fixes the idea only: "inspired by the SE module",
    with weights for the channels of each level. Ours: the squeezed vectors of all maps
    decide together; the hidden layer has C channels, as that of
    ``AdaptiveSpatialFusion``, so that the two differ in what is weighted; the weights
    have a sigmoid, as in SE and in the released spatial fusion.

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
        self.weigh = nn.Conv2d(channels, num_maps * channels, 1)

    def weights(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the weight of each channel of each map.

        Args:
            maps: ``num_maps`` maps, ``(N, C, H, W)``.

        Returns:
            ``(N, num_maps, C)``, in (0, 1).

        Raises:
            ValueError: the number of maps differs from ``num_maps``.
        """
        if len(maps) != self.num_maps:
            raise ValueError(f"expected {self.num_maps} maps, got {len(maps)}")
        squeezed = torch.cat([x.mean((2, 3), keepdim=True) for x in maps], dim=1)
        weights = torch.sigmoid(self.weigh(F.relu(self.reduce(squeezed))))
        return weights.view(-1, self.num_maps, self.channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the sum of the maps times their weights, ``(N, C, H, W)``.

        Raises:
            ValueError: the number of maps differs from ``num_maps``.
        """
        return weighted_sum(maps, self.weights(maps)[..., None, None])
