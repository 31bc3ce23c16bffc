"""AugFPN: a feature pyramid that gives its highest level context in a residual way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor

from fpn_necks.layers import ResidualFeatureAugmentation, check_bool, weighted_top_down

from .fusion_factor import build_fusion_factor
from .pyramid_neck import PyramidNeck


@MODELS.register_module()
class AugFPN(PyramidNeck):
    """FPN with Residual Feature Augmentation.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Sec. 3.2, for four levels::

        C5 -+-> lateral_convs[3] -> raw M5 -(+)-> M5 -+-> fpn_convs[3] -> P5 -> P6 ...
            |                                ^        |                        ^
            +-> residual_features ---> M6 ---+        | up                     . average
                                        .             v                        . of M6
        C4 ---> lateral_convs[2] ------ . ---------> (+) -> fpn_convs[2] -> P4 .
        ...                             .......................................

    The dotted path is ``residual_to_extra_level``. The other two parts of the method
    are ``SoftRoIExtractor`` (Sec. 3.3) and the auxiliary losses of consistent
    supervision (Sec. 3.1). Those losses read the raw laterals, from before the residual
    and the top-down path: ``neck.lateral_convs(neck.levels.select(maps))``, or the
    output that a forward hook of ``neck.lateral_convs`` sees.

    Checkpoints of mmdet's ``FPN`` load with the keys of ``residual_features`` missing.
    With those weights at zero, outputs and gradients equal those of ``FPN`` bit for
    bit.

    Differences from the released ``HighFPN`` and ``HighFPNRetinanet``: the residual is
    computed from the last used backbone map, where theirs takes the last map whatever
    ``end_level`` is; sides need not be multiples of the stride; with ``norm_cfg`` what
    ``residual_to_extra_level`` adds is normalised over its channels, as the maps it is
    added to are. Where the paper is silent the choices are the released ones.

    Args:
        *args: the arguments of ``PyramidNeck``, which are those of mmdet's ``FPN``.
        pooling: ``'ratio-invariant'``, ``'gap'``, ``'gmp'`` or ``'psp'`` (Table 4); see
            ``ResidualFeatureAugmentation``, as for the next two.
        ratios: the ratios of ``'ratio-invariant'``, each in (0, 1].
        fusion: ``'asf'``, ``'sum'`` or ``'psp'`` (Table 4); by ``None`` the pooling
            decides.
        fusion_factor: what the top-down connections pass on, as in ``SAlphaFPN``.
        residual_to_extra_level: the global average of M6 is added to the first extra
            level before the next is derived from it: the one-stage form, with which
            the authors trained RetinaNet and FCOS. The paper does not mention it.
        **kwargs: see ``*args``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed, or
            ``residual_to_extra_level`` is set and there is no extra level.

    Example:
        >>> import torch
        >>> neck = AugFPN([8, 16, 32], 8, num_outs=4)
        >>> maps = [torch.rand(1, 8 * 2**i, 32 // 2**i, 48 // 2**i) for i in range(3)]
        >>> [tuple(p.shape) for p in neck(maps)]
        [(1, 8, 32, 48), (1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6)]
    """

    def __init__(
        self,
        *args: Any,
        pooling: str = "ratio-invariant",
        ratios: Sequence[float] = (0.1, 0.2, 0.3),
        fusion: str | None = None,
        fusion_factor: float | Sequence[float] | str | Mapping[str, Any] = 1.0,
        residual_to_extra_level: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_bool("residual_to_extra_level", residual_to_extra_level)
        if residual_to_extra_level and not self.levels.num_extra:
            raise ValueError(
                "residual_to_extra_level=True needs an extra level: num_outs must be "
                f"above {self.levels.num_used}, the number of used backbone levels, "
                f"got {self.levels.num_outs}"
            )
        self.residual_to_extra_level = residual_to_extra_level
        self.residual_features = ResidualFeatureAugmentation(
            self.levels.select(self.in_channels)[-1],
            self.out_channels,
            pooling,
            ratios,
            fusion,
        )
        self.fusion_factor = build_fusion_factor(
            fusion_factor, self.levels.num_used - 1, self.out_channels
        )

    def fuse(self, laterals: list[Tensor]) -> list[Tensor]:
        """Run the top-down path; the highest lateral holds the residual already."""
        factor = self.fusion_factor.numbers or self.fusion_factor
        return weighted_top_down(laterals, factor, self.upsample_cfg)

    def augment(
        self, laterals: list[Tensor], backbone_map: Tensor
    ) -> tuple[list[Tensor], Tensor | None]:
        """Add M6 to the highest lateral; its average may go to an extra level."""
        residual = self.residual_features(backbone_map)
        context = None
        if self.residual_to_extra_level:
            context = residual.mean((2, 3), keepdim=True)
            if self.conv_settings["norm_cfg"] is not None:
                context = F.group_norm(context, 1).to(context.dtype)
        # A new list: a hook may hold the raw one.
        return [*laterals[:-1], laterals[-1] + residual], context
