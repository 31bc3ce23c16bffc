"""Channel Refinement Block of DRFPN: one level weighs the channels of its neighbour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .arguments import check_choice
from .conv_block import conv_block
from .spatial_refinement import PATHS

GUIDES = ("low", "high", "add", "cat")
BATCH_NORM: Mapping[str, Any] = dict(type="BN")


class ChannelRefinement(nn.Module):
    """CRB: refine a level by channel weights that its neighbour gives.

    Ma and Chen, "Dual Refinement Feature Pyramid Networks", arXiv 2012.01733, Sec. 3.2,
    Eq. 5-6; Fig. 3(c). ``low`` is the finer level P_l, ``high`` the coarser P_{l+1}::

        low  (N, C, H, W) -- mean -- 1x1, norm, ReLU -> α (N, C, 1, 1)
                                                           |
        high (N, C, h, w) --------- 3x3, norm, ReLU --- times ---> (N, C, h, w)

    In a top-down path (Table 3; ours, there is no released code) ``low`` is refined;
    ``'low'`` in ``guide`` means the level that the path comes from, which is ``high``.

    The paper says 1x1 in the text and 3x3 below Eq. 6 for the convolution of the
    refined level, and mentions neither norm nor activation; this is the released code.

    Args:
        channels: width C of both levels.
        path: ``'bottom-up'`` refines ``high``, ``'top-down'`` refines ``low``.
        guide: whose mean gives α (Table 6). ``'low'``: the level that the path comes
            from. ``'high'``: the refined level itself, as in a squeeze-and-excitation
            block. ``'add'``, ``'cat'``: both, in a bottom-up path the former
            downsampled by a stride-2 3x3 convolution first; ``'cat'`` is reduced to C
            by a 1x1 convolution, behind the mean, which gives the same numbers.
        norm_cfg: normalisation of both convolutions. Batch normalisation, the default,
            needs two images or more per batch and process in training: it normalises
            means over the images. Group normalisation needs fewer groups than channels.

    Raises:
        TypeError: ``norm_cfg`` is not a dict.
        ValueError: ``path`` or ``guide`` is unknown, or ``norm_cfg`` has as many
            groups as there are channels.
    """

    def __init__(
        self,
        channels: int,
        path: str = "bottom-up",
        guide: str = "low",
        norm_cfg: Mapping[str, Any] | None = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.path = check_choice("path", path, PATHS)
        self.guide = check_choice("guide", guide, GUIDES)
        self.weight_conv = conv_block(channels, channels, 1, norm_cfg=norm_cfg)
        norm = self.weight_conv.norm
        if isinstance(norm, nn.GroupNorm) and norm.num_groups == channels:
            raise ValueError(
                "num_groups of crb's norm_cfg must be below the number of channels, "
                f"{channels}, got {norm.num_groups}: each group would normalise a "
                "single mean per image, to 0 whatever it is"
            )
        self.feature_conv = conv_block(
            channels, channels, 3, padding=1, norm_cfg=norm_cfg
        )
        self.downsample = self.reduce = None
        if guide in ("add", "cat") and path == "bottom-up":
            self.downsample = nn.Conv2d(channels, channels, 3, 2, 1)
        if guide == "cat":
            self.reduce = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Refine ``high`` in a bottom-up path, ``low`` in a top-down path.

        Args:
            low: the finer level, ``(N, C, H, W)``.
            high: the coarser level, ``(N, C, h, w)``.

        Raises:
            ValueError: batch normalisation in training mode got a single image.
        """
        source, target = (low, high) if self.path == "bottom-up" else (high, low)
        means = self._means(source, target)
        if self.training:
            self._check_batch(means.shape[0])
        return self.feature_conv(target) * self.weight_conv(means)

    def _means(self, source: Tensor, target: Tensor) -> Tensor:
        """Return what α is computed from, ``(N, C, 1, 1)``."""
        if self.downsample is not None:
            source = self.downsample(source)
        if self.guide == "low":
            return _mean(source)
        if self.guide == "high":
            return _mean(target)
        if self.guide == "add":
            return _mean(source) + _mean(target)
        return self.reduce(torch.cat([_mean(source), _mean(target)], dim=1))

    def _check_batch(self, images: int) -> None:
        norm = self.weight_conv.norm
        # Synchronised statistics cover the other processes' images. What mmengine puts
        # in their place where there is one process is no BatchNorm2d.
        local = isinstance(norm, _BatchNorm) and not isinstance(norm, nn.SyncBatchNorm)
        if local and norm.training and images == 1:
            raise ValueError(
                "the channel refinement of DRFPN normalises globally pooled maps over "
                "the batch, which is impossible with one image per batch in training; "
                "take 2 or more images per batch, or a norm that needs one, such as "
                "crb=dict(norm_cfg=dict(type='GN', num_groups=32))"
            )


def _mean(x: Tensor) -> Tensor:
    # Rows first: the gradient of a sum is a view, that of Tensor.mean a map of its own.
    rows = x.sum(dim=3) / x.shape[3]
    return rows.mean(dim=2)[..., None, None]
