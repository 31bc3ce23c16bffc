"""Residual Feature Augmentation of AugFPN: context for the highest pyramid level."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .adaptive_pooling import adaptive_average_pool, share_of
from .arguments import check_choice, check_list, check_number
from .map_fusion import AdaptiveSpatialFusion, ConcatenationFusion, SumFusion

POOLINGS = ("ratio-invariant", "gap", "gmp", "psp")
FUSIONS = ("asf", "sum", "psp")
PSP_SIZES = (1, 2, 3, 6)
"""Cells per side of the pools of PSPNet (Zhao et al., CVPR 2017)."""


class ResidualFeatureAugmentation(nn.Module):
    """Pool the last backbone map in several ways and fuse what remains of it.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Sec. 3.2 and Table 4::

                    +-> pool 1 -> 1x1 conv -> bilinear up -+
        C5 ---------+-> pool 2 -> 1x1 conv -> bilinear up -+-> fusion -> M6
        (N, C_in,   +-> pool 3 -> 1x1 conv -> bilinear up -+             (N, C,
         H, W)          h_i, w_i                (N, C, H, W)              H, W)

    The bilinear upsampling has ``align_corners=True``, as in the released code.

    Args:
        in_channels: width C_in of the backbone map.
        out_channels: width C of the result.
        pooling: one of the pooling types of Table 4. ``'ratio-invariant'``: averages
            over ``max(1, int(ratio·H)) x max(1, int(ratio·W))`` cells, one branch per
            ratio. ``'gap'``, ``'gmp'``: the average or the maximum of the whole map,
            one branch. ``'psp'``: averages over 1, 2, 3 and 6 cells per side, four
            branches.
        ratios: the α of ``'ratio-invariant'``, each in (0, 1]; other kinds of pooling
            do not read it.
        fusion: one of the fusion types of Table 4. ``'asf'``: the weighted sum of
            ``AdaptiveSpatialFusion``. ``'sum'``: the plain sum. ``'psp'``: a 3x3
            convolution of the concatenated branches; the paper says no more than
            "convolving", 3x3 is PSPNet's. ``None``: ``'sum'`` for ``'gap'`` and
            ``'gmp'``, which have one branch and take no other; ``'asf'`` otherwise. A
            single ratio may have ASF, as in a row of Table 4.

    Raises:
        TypeError: ``ratios`` is no sequence of numbers.
        ValueError: an argument has a value that is not allowed.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pooling: str = "ratio-invariant",
        ratios: Sequence[float] = (0.1, 0.2, 0.3),
        fusion: str | None = None,
    ) -> None:
        super().__init__()
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.ratios = tuple(
            check_number("ratios", ratio, above=0, maximum=1)
            for ratio in check_list("ratios", ratios)
        )
        if not self.ratios:
            raise ValueError("ratios must hold at least one number in (0, 1]")
        is_global = pooling in ("gap", "gmp")
        if fusion is None:
            fusion = "sum" if is_global else "asf"
        check_choice("fusion", fusion, FUSIONS)
        if is_global and fusion != "sum":
            raise ValueError(
                f"fusion must be 'sum' or None with pooling={pooling!r}, which has a "
                f"single branch, got {fusion!r}"
            )
        branches = {"ratio-invariant": len(self.ratios), "psp": len(PSP_SIZES)}
        num_branches = branches.get(pooling, 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 1) for _ in range(num_branches)
        )
        self.fusion: nn.Module
        if fusion == "asf":
            self.fusion = AdaptiveSpatialFusion(num_branches, out_channels)
        elif fusion == "psp":
            self.fusion = ConcatenationFusion(num_branches, out_channels)
        else:
            self.fusion = SumFusion()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        branches = [
            F.interpolate(
                conv(pooled), size=x.shape[2:], mode="bilinear", align_corners=True
            )
            for conv, pooled in zip(self.convs, self._pool(x), strict=True)
        ]
        return self.fusion(branches)

    def _pool(self, x: Tensor) -> list[Tensor]:
        if self.pooling == "gmp":
            return [x.amax((2, 3), keepdim=True)]
        if self.pooling == "ratio-invariant":
            height, width = x.shape[2:]
            sizes = [(share_of(height, r), share_of(width, r)) for r in self.ratios]
        else:
            sides = PSP_SIZES if self.pooling == "psp" else (1,)
            sizes = [(side, side) for side in sides]
        return [adaptive_average_pool(x, size) for size in sizes]
