"""Soft RoI Selection of AugFPN: every RoI takes its features from all levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from fpn_necks.layers import (
    AdaptiveChannelFusion,
    AdaptiveSpatialFusion,
    MaxFusion,
    SumFusion,
    check_bool,
    check_choice,
    recompute,
)

from .all_level_roi_extractor import AllLevelPooling, InitSettings

FUSIONS = ("asf", "acf", "sum", "max")
XAVIER_UNIFORM = dict(type="Xavier", layer="Conv2d", distribution="uniform")


@MODELS.register_module()
class SoftRoIExtractor(AllLevelPooling):
    """Pool every RoI from all levels and fuse the results by learned weights.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Sec. 3.3 and Table 5::

        P2 -> RoIAlign -> (K, C, h, w) -+
        P3 -> RoIAlign -> (K, C, h, w) -+
        P4 -> RoIAlign -> (K, C, h, w) -+-> fusion -> (K, C, h, w)
        P5 -> RoIAlign -> (K, C, h, w) -+

    It takes the place of ``SingleRoIExtractor`` as ``bbox_roi_extractor`` and as
    ``mask_roi_extractor``. With ``'asf'``, four levels and 256 channels it adds the
    paper's 0.27M parameters.

    Differences from the released class: RoIs are pooled as mmdet does now (aligned),
    with the released 2 x 2 samples per cell by default; the released kernel is
    ``roi_layer=dict(type='RoIAlign', output_size=7, legacy=True, inclusive=False)`` for
    boxes of mmdet 3, and ``inclusive=True`` for weights released by the authors. A
    single level is refused.

    Args:
        roi_layer: config of the pooling of one level, see ``AllLevelPooling``.
        out_channels: width C of the maps.
        featmap_strides: stride of each level, at least two.
        fusion: one of the fusion types of Table 5. ``'asf'``: one weight per RoI, level
            and position, see ``AdaptiveSpatialFusion``. ``'acf'``: one per RoI, level
            and channel, see ``AdaptiveChannelFusion``. ``'sum'``, ``'max'``: without
            weights.
        init_cfg: initialisation; ``None`` keeps PyTorch's own.
        with_cp: pool and fuse anew in the backward pass instead of keeping what the
            levels give. The extractor's own peak does not fall.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.
    """

    min_levels = 2

    def __init__(
        self,
        roi_layer: Mapping[str, Any],
        out_channels: int,
        featmap_strides: Sequence[int],
        fusion: str = "asf",
        init_cfg: InitSettings = XAVIER_UNIFORM,
        with_cp: bool = False,
    ) -> None:
        super().__init__(roi_layer, out_channels, featmap_strides, init_cfg)
        self.with_cp = check_bool("with_cp", with_cp)
        check_choice("fusion", fusion, FUSIONS)
        self.fusion: nn.Module
        if fusion == "asf":
            self.fusion = AdaptiveSpatialFusion(self.num_inputs, out_channels)
        elif fusion == "acf":
            self.fusion = AdaptiveChannelFusion(self.num_inputs, out_channels)
        else:
            self.fusion = SumFusion() if fusion == "sum" else MaxFusion()

    def forward(
        self,
        feats: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Extract the features of RoIs.

        Args:
            feats: one ``(N, C, H_l, W_l)`` map per entry of ``featmap_strides``.
            rois: ``(K, 5)``: image index, x1, y1, x2, y2 in pixels of the image.
            roi_scale_factor: the RoIs are scaled by it about their centres.

        Returns:
            ``(K, C, *output_size)``.

        Raises:
            ValueError: see ``AllLevelPooling.pool``.
        """

        def extract(feats: Sequence[Tensor], rois: Tensor) -> Tensor:
            return self.fusion(self.pool(feats, rois, roi_scale_factor))

        if self.with_cp and torch.is_grad_enabled():
            return recompute(self, extract, feats, rois)
        return extract(feats, rois)

    def level_weights(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Return the weight of each level, ``(K, levels, h, w)``, for Fig. 4.

        Each lies in (0, 1); ``level_shares`` turns them into the ratios of Fig. 4. The
        weights of ``'acf'`` are averaged over the channels, the same at all positions.

        Raises:
            ValueError: the fusion has no weights.
        """
        if isinstance(self.fusion, SumFusion | MaxFusion):
            raise ValueError("the fusions 'sum' and 'max' have no level weights")
        pooled = self.pool(feats, rois)
        weights = self.fusion.weights(pooled)
        if isinstance(self.fusion, AdaptiveChannelFusion):
            weights = weights.mean(2)[..., None, None]
            weights = weights.expand(-1, -1, *pooled[0].shape[2:])
        return weights


def level_shares(weights: Tensor, groups: Tensor | None = None) -> Tensor:
    """Return the share of each level in the RoI features, as Fig. 4 shows it.

    The weights are averaged over positions and RoIs, and divided by their sum over the
    levels.

    Args:
        weights: ``(K, levels, h, w)``, of ``SoftRoIExtractor.level_weights``.
        groups: ``(K,)`` level to which each RoI would have been assigned, as
            ``original_levels`` returns; ``None`` averages over all RoIs together.

    Returns:
        ``(levels,)``, or with ``groups`` ``(levels, levels)``: row g is a panel of
        Fig. 4, the shares among the RoIs of group g. A group without RoIs gives NaN.
    """
    per_roi = weights.mean((2, 3))
    if groups is None:
        means = per_roi.mean(0)
    else:
        members = torch.nn.functional.one_hot(groups, weights.shape[1]).to(per_roi)
        means = members.T @ per_roi / members.sum(0)[:, None]
    return means / means.sum(-1, keepdim=True)


def original_levels(
    rois: Tensor, num_levels: int, finest_scale: float = 56.0
) -> Tensor:
    """Return the level that mmdet's ``SingleRoIExtractor`` would take for each RoI.

    Args:
        rois: ``(K, 5)``: image index, x1, y1, x2, y2.
        num_levels: number of levels.
        finest_scale: RoIs below twice this size belong to level 0, and each further
            level to RoIs of twice the size.

    Returns:
        ``(K,)``, indices from 0 (the highest resolution).
    """
    width, height = (rois[:, 3:5] - rois[:, 1:3]).unbind(1)
    octave = torch.log2((width * height).sqrt() / finest_scale + 1e-6).floor()
    return octave.clamp(0, num_levels - 1).long()
