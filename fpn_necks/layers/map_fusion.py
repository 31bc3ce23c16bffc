"""Fusing maps of one size: their sum, their maximum, or a sum with learned weights."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pyramid import fit_to
from .recomputing import keeps_gradients


class SumFusion(nn.Module):
    """The sum of maps of one size, ``(N, C, H, W)`` each."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return ``(N, C, H, W)``."""
        return sum(maps[1:], maps[0])


class MaxFusion(nn.Module):
    """The elementwise maximum of maps of one size."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return ``(N, C, H, W)``."""
        return functools.reduce(torch.maximum, maps)


class ConcatenationFusion(nn.Module):
    """A 3x3 convolution of the concatenated maps, as PSPNet fuses its pools."""

    def __init__(self, num_maps: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_maps * channels, channels, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return ``(N, C, H, W)``."""
        return self.conv(torch.cat(list(maps), dim=1))


class AdaptiveSpatialFusion(nn.Module):
    """Fuse maps of one size by weight maps that are computed from all of them.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Fig. 3(a); used by Residual
    Feature Augmentation (Sec. 3.2) and by Soft RoI Selection (Sec. 3.3)::

        n maps (N, C, H, W) -> 1x1 conv, nC to C -> ReLU -> 3x3 conv, C to n -> sigmoid
                 |                                                                 |
                 +--------- times ------- weights (N, n, H, W) <-------------------+
                              |
                     sum over the maps -> (N, C, H, W)

    As in the released code each weight has a sigmoid of its own, not a softmax over the
    maps. The first convolution is computed as the sum of one per map, each with its
    part of the kernel, so that the concatenation of the maps is never stored.

    Args:
        num_maps: number n of maps.
        channels: width C of each map.
    """

    def __init__(self, num_maps: int, channels: int) -> None:
        super().__init__()
        self.num_maps = num_maps
        self.channels = channels
        self.reduce = nn.Conv2d(num_maps * channels, channels, 1)
        self.weigh = nn.Conv2d(channels, num_maps, 3, padding=1)

    def weights(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the weight of each map at each position, ``(N, num_maps, H, W)``."""
        first_kernel, *kernels = self.reduce.weight.split(self.channels, dim=1)
        hidden = F.conv2d(maps[0], first_kernel, self.reduce.bias)
        for x, kernel in zip(maps[1:], kernels, strict=True):
            hidden = hidden + F.conv2d(x, kernel)
        return torch.sigmoid(self.weigh(F.relu(hidden)))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the sum of the maps times their weights, ``(N, C, H, W)``."""
        return weighted_sum(maps, self.weights(maps))


class AdaptiveChannelFusion(nn.Module):
    """Fuse maps of one size by channel weights that are computed from all of them.

    Guo et al., "AugFPN", Fig. 3(b); the row "ACF" of Table 5::

        n maps (N, C, H, W) -> average over H, W -> 1x1 conv, nC to C -> ReLU
                 |                                                         |
                 |                               1x1 conv, C to nC -> sigmoid
                 +------- times ------- weights (N, n, C) <----------------+
                            |
                   sum over the maps -> (N, C, H, W)

    It was not released; the paper says "inspired by the SE module", with weights for
    the channels of each level. Ours: the pooled vectors of all maps decide together;
    hidden layer and sigmoid are those of ``AdaptiveSpatialFusion``.

    Args:
        num_maps: number n of maps.
        channels: width C of each map.
    """

    def __init__(self, num_maps: int, channels: int) -> None:
        super().__init__()
        self.num_maps = num_maps
        self.channels = channels
        self.reduce = nn.Conv2d(num_maps * channels, channels, 1)
        self.weigh = nn.Conv2d(channels, num_maps * channels, 1)

    def weights(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the weight of each channel of each map, ``(N, num_maps, C)``."""
        squeezed = torch.cat([x.mean((2, 3), keepdim=True) for x in maps], dim=1)
        weights = torch.sigmoid(self.weigh(F.relu(self.reduce(squeezed))))
        return weights.view(-1, self.num_maps, self.channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the sum of the maps times their weights, ``(N, C, H, W)``."""
        return weighted_sum(maps, self.weights(maps)[..., None, None])


def weighted_sum(maps: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Add n maps, with one weight per place or per channel (ASFF's Eq. 1).

    One map after the other: no tensor of all maps is made. A coarser map counts as if
    it were enlarged (nearest); where its rows divide H, only its columns are.

    Args:
        maps: ``(N, C, H, W)``, or of fewer rows and columns.
        weights: ``(N, n, H, W)`` or ``(N, n, C, 1, 1)``.
    """
    total: Tensor | None = None
    per_channel = weights.dim() == 5
    for x, weight in zip(maps, weights.unbind(1), strict=True):
        weight = (weight if per_channel else weight[:, None]).to(x.dtype)
        repeats = 1
        if not per_channel:
            x, repeats = _enlarge_columns(x, weight)
        if repeats > 1:
            x, weight = x.unsqueeze(3), weight.unflatten(2, (-1, repeats))
            total = total if total is None else total.unflatten(2, (-1, repeats))
        total = x * weight if total is None else _add_product(total, x, weight)
        total = total.flatten(2, 3) if repeats > 1 else total
    return total


def _enlarge_columns(x: Tensor, target: Tensor) -> tuple[Tensor, int]:
    """Return ``x`` as wide as the target, and how often its rows must be repeated."""
    if torch.jit.is_tracing() or target.shape[2] % x.shape[2]:
        return fit_to(x, target), 1
    repeats = target.shape[2] // x.shape[2]
    if x.shape[3] != target.shape[3]:
        x = F.interpolate(x, size=(x.shape[2], target.shape[3]), mode="nearest")
    return x, repeats


def _add_product(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    if keeps_gradients():  # those of addcmul take more memory
        return total + x * weight
    return total.addcmul_(x, weight)
