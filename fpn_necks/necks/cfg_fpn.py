"""CFG-FPN: a feature pyramid by cascade feature grouping, without a top-down path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor

from fpn_necks.layers import GROUP_UPSAMPLING, CascadeFeatureGrouping, check_int

from .pyramid_neck import PyramidNeck


@MODELS.register_module()
class CFGFPN(PyramidNeck):
    """Cascade feature grouping (CFG): every output level reads every backbone level.

    Jin et al., "You Should Look at All Objects", ECCV 2022
    (doi 10.1007/978-3-031-20077-9_20), Section 4.2, Eq. 12-17. No code was released::

        C_2 - lateral -- C'_2 --+          +-- P''_2 -- fpn_convs -- P_2
        C_3 - lateral -- C'_3 --| cascade  |-- P''_3 -- fpn_convs -- P_3
        C_4 - lateral -- C'_4 --| feature  |-- P''_4 -- fpn_convs -- P_4
        C_5 - lateral -- C'_5 --+ grouping +-- P''_5 -- fpn_convs -- P_5
                     W channels              W channels           Z channels

    One stage multiplies the channels of C'_k by a matrix M_k that it computes from C'_k
    (Eq. 12-13), splits them into one group per level (Eq. 14) and concatenates group l
    of all levels, resized to level l, to P'_l (Eq. 15). The next stage does the same
    with P'. P'' is the weighted sum over the stages (Eq. 17), and a 3x3 conv makes P
    from it (Eq. 16).

    Eq. 14 splits 256 channels into four. For n levels laterals and fused maps have W
    channels, the first multiple of n, of 8 (which fast GPU kernels need) and of the
    groups of ``norm_cfg`` from Z = ``out_channels`` on: with Z = 256 and no norm, 256
    for four levels and 264 for three. What else the paper leaves open is decided in
    ``GroupingMatrix``, ``FeatureGrouping`` and ``CascadeFeatureGrouping``.

    The matrices are large. Parameters of the grouping alone, four levels, Z = 256:

    ======  ==========  ===========  ===========
    rank       1 stage     2 stages     3 stages
    ======  ==========  ===========  ===========
    None    67,636,224  135,420,612  203,056,836
    64      33,950,720   68,049,604  102,000,324
    32      17,107,968   34,364,100   51,472,068
    16       8,686,592   17,521,348   26,207,940
    ======  ==========  ===========  ===========

    Args:
        *args: the arguments of ``PyramidNeck``.
        cascade_times: the number of stages; 1, 2 and 3 in Table 2, 3 in Table 3.
        rank: r in [1, W]: M_k is the identity plus a product of W x r and r x W; see
            ``GroupingMatrix``. ``None``, the paper's: all of M_k.
        noise: standard deviation of M_k around the identity at the start.
        weight_channels: hidden channels of f_w.
        **kwargs: see ``*args``. ``upsample_cfg``, to be given by name, says how groups
            of coarser levels are enlarged; here its default is
            ``dict(mode='bilinear', align_corners=False)``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.

    Example:
        >>> import torch
        >>> neck = CFGFPN([8, 16, 32], 16, num_outs=4, cascade_times=2, rank=4)
        >>> maps = [torch.rand(1, 8 * 2**i, 32 // 2**i, 48 // 2**i) for i in range(3)]
        >>> [tuple(p.shape) for p in neck(maps)]
        [(1, 16, 32, 48), (1, 16, 16, 24), (1, 16, 8, 12), (1, 16, 4, 6)]
    """

    def __init__(
        self,
        *args: Any,
        cascade_times: int = 3,
        rank: int | None = None,
        noise: float = 0.01,
        weight_channels: int = 16,
        **kwargs: Any,
    ) -> None:
        kwargs["upsample_cfg"] = kwargs.get("upsample_cfg") or GROUP_UPSAMPLING
        super().__init__(*args, **kwargs)
        # A direct child, so that BaseModule calls its init_weights.
        self.grouping = CascadeFeatureGrouping(
            self.levels.num_used,
            self.lateral_channels,
            self.out_channels,
            cascade_times=cascade_times,
            rank=rank,
            noise=noise,
            weight_channels=weight_channels,
            upsample_cfg=self.upsample_cfg,
        )

    def fuse(self, laterals: list[Tensor]) -> list[Tensor]:
        """Group the channels of all levels by target level."""
        return self.grouping(laterals)

    def _choose_lateral_channels(self, norm_cfg: Mapping[str, Any] | None) -> int:
        groups = 1
        if isinstance(norm_cfg, Mapping) and "num_groups" in norm_cfg:
            groups = check_int("norm_cfg's num_groups", norm_cfg["num_groups"])
        step = math.lcm(self.levels.num_used, 8, groups)
        return -(-self.out_channels // step) * step
