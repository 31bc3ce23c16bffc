"""S-α FPN: a feature pyramid whose top-down connections carry a fusion factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import Tensor

from fpn_necks.layers import check_number, weighted_top_down

from .fusion_factor import FUSION_FACTOR_CHOICES, build_fusion_factor
from .pyramid_neck import PyramidNeck


@MODELS.register_module()
class SAlphaFPN(PyramidNeck):
    """FPN with fusion factors on its top-down connections.

    Gong et al., "Effective Fusion Factor in FPN for Tiny Object Detection", WACV 2021
    (arXiv 2011.02298), Eq. 1::

        C_i -> lateral_convs[i] -(+)-> M_i -> fpn_convs[i] -> P_i
                                 ^
                    α_i^{i+1} * up(M_{i+1})

    With α = 1 outputs and gradients equal those of mmdet's ``FPN`` bit for bit, and
    its checkpoints load.

    Args:
        *args: the arguments of ``PyramidNeck``, which are those of mmdet's ``FPN``.
        fusion_factor: α, to be given by name: a number (1.0 is plain FPN), or a list of
            one per connection with the highest resolution first (α_2^3, α_3^4, α_4^5);
            ``'statistic'``, ``'learnable'`` (one per connection),
            ``'learnable-shared'``, ``'attention'``; or the config of a registered kind,
            such as ``dict(type='StatisticFusionFactor', count='best_anchor')``.
        power_init: σ > 0 of the σ-power initialisation (Sec. 3.3, Table 2; the paper
            uses 0.5), which combines with any α; ``None`` is off. Initial lateral
            convs (a norm behind them in their place) are multiplied by σ^k, biases
            included, and the weights of the output convs divided by it; k = 0 for the
            used level of highest resolution (the paper's i - 2). With α = 1, and no
            activation but ReLU and its leaky forms, the network then starts as the
            plain one with α = σ.
        **kwargs: see ``*args``.

    Raises:
        TypeError: ``fusion_factor`` is missing, or an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.

    Example:
        >>> import torch
        >>> neck = SAlphaFPN([8, 16, 32], 8, num_outs=4, fusion_factor=[0.5, 0.4])
        >>> maps = [torch.rand(1, 8 * 2**i, 32 // 2**i, 48 // 2**i) for i in range(3)]
        >>> [tuple(p.shape) for p in neck(maps)]
        [(1, 8, 32, 48), (1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6)]
    """

    def __init__(
        self,
        *args: Any,
        fusion_factor: float | Sequence[float] | str | Mapping[str, Any] | None = None,
        power_init: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if fusion_factor is None:
            raise TypeError(
                f"fusion_factor must be given: {FUSION_FACTOR_CHOICES}; 1.0 is plain "
                "FPN"
            )
        if power_init is not None:
            power_init = check_number("power_init", power_init, above=0)
        self.power_init = power_init
        self.fusion_factor = build_fusion_factor(
            fusion_factor, self.levels.num_used - 1, self.out_channels
        )

    def fuse(self, laterals: list[Tensor]) -> list[Tensor]:
        """Run the top-down path of Eq. 1."""
        factor = self.fusion_factor.numbers or self.fusion_factor
        return weighted_top_down(laterals, factor, self.upsample_cfg)

    def init_weights(self) -> None:
        """Initialise through ``init_cfg``, then apply the σ-power scaling once."""
        first_time = not self.is_init
        super().init_weights()
        if first_time and self.power_init is not None:
            self._scale_by_powers(self.power_init)

    @torch.no_grad()
    def _scale_by_powers(self, sigma: float) -> None:
        for k, lateral_conv in enumerate(self.lateral_convs):
            scaled = lateral_conv.norm if lateral_conv.with_norm else lateral_conv.conv
            for parameter in scaled.parameters():
                parameter.mul_(sigma**k)
            self.fpn_convs[k].conv.weight.div_(sigma**k)
        if self.extra_levels.source == "on_lateral":
            # The only other conv that reads a scaled map.
            readers: list[ConvModule] = self.fpn_convs.extra[:1]
            for reader in readers:
                reader.conv.weight.div_(sigma ** (self.levels.num_used - 1))
