"""Soft RoI Selection of AugFPN: every RoI takes its features from all levels."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor, nn

from fpn_necks.layers import (
    AdaptiveChannelFusion,
    AdaptiveSpatialFusion,
    SumFusion,
    check_channels,
)

FUSIONS = ("asf", "acf", "sum", "max")
XAVIER_UNIFORM = dict(type="Xavier", layer="Conv2d", distribution="uniform")


class LegacyRoIAlign(RoIAlign):
    """The RoIAlign of the first mmdet, with which the authors of AugFPN trained.

    It takes x2 and y2 as the last pixel inside the RoI, places the corners half a cell
    further down and right than ``aligned=True`` does, and clamps negative extents at 0.
    That equals the aligned operator on
    ``[x1 + s/2, y1 + s/2, x2 + 1 + s/2, y2 + 1 + s/2]``, where s is the stride. mmcv's
    ``aligned=False`` is another operator: it adds no 1 and gives every RoI at least the
    extent of one cell.

    Args:
        output_size: height and width of the result.
        spatial_scale: 1 / stride.
        sampling_ratio: samples per cell and direction; 0 takes as many as the RoI has
            cells of the map.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
    ) -> None:
        super().__init__(output_size, spatial_scale, sampling_ratio)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool ``(N, C, H, W)`` at ``(K, 5)`` RoIs to ``(K, C, *output_size)``."""
        half_cell = 0.5 / self.spatial_scale
        start = rois[:, 1:3] + half_cell
        end = torch.maximum(rois[:, 3:5] + (1 + half_cell), start)
        return super().forward(input, torch.cat([rois[:, :1], start, end], dim=1))


class MaxFusion(nn.Module):
    """The elementwise maximum of maps of one size."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return ``(N, C, H, W)``."""
        return functools.reduce(torch.maximum, maps)


@MODELS.register_module()
class SoftRoIExtractor(BaseRoIExtractor):
    """Pool every RoI from all levels and fuse the results by learned weights.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Sec. 3.3 and Table 5::

        P2 -> RoIAlign -> (K, C, h, w) -+
        P3 -> RoIAlign -> (K, C, h, w) -+
        P4 -> RoIAlign -> (K, C, h, w) -+-> fusion -> (K, C, h, w)
        P5 -> RoIAlign -> (K, C, h, w) -+

    It takes the place of ``SingleRoIExtractor`` as ``bbox_roi_extractor`` and as
    ``mask_roi_extractor``. With ``'asf'``, four levels and 256 channels it adds the
    paper's 0.27M parameters. What the fusion reads is never concatenated.

    RoIs are pooled in single precision under mixed precision too: half precision places
    coordinates beyond 2048 at every second pixel only, and mmcv's operator has no
    bfloat16. Results have the type of the maps. Without any RoI the result is empty and
    still gives maps and parameters a gradient, of zeros, which distributed training
    waits for.

    Differences from the released class: RoIs are pooled as mmdet does now (aligned, by
    default as many samples as a RoI covers cells); the released kernel is
    ``roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2, legacy=True)``.
    The released class takes a single level as well and then has unused weights; ours
    refuses it.

    Args:
        roi_layer: config of the pooling of one level, as in mmdet's extractors. An
            additional ``legacy=True`` makes ``RoIAlign`` the authors' old operator, see
            ``LegacyRoIAlign``.
        out_channels: width C of the maps.
        featmap_strides: stride of each level, at least two.
        fusion: one of the fusion types of Table 5. ``'asf'``: one weight per RoI, level
            and position, see ``AdaptiveSpatialFusion``. ``'acf'``: one per RoI, level
            and channel, see ``AdaptiveChannelFusion``. ``'sum'``, ``'max'``: without
            weights.
        init_cfg: initialisation; ``None`` keeps PyTorch's own.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.
    """

    def __init__(
        self,
        roi_layer: Mapping[str, Any],
        out_channels: int,
        featmap_strides: Sequence[int],
        fusion: str = "asf",
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = (
            XAVIER_UNIFORM
        ),
    ) -> None:
        check_channels("out_channels", out_channels)
        if isinstance(featmap_strides, str) or not isinstance(
            featmap_strides, Sequence
        ):
            raise TypeError(f"featmap_strides must be a list, got {featmap_strides!r}")
        if len(featmap_strides) < 2:
            raise ValueError(
                "featmap_strides must name at least 2 levels to take features from "
                f"(SingleRoIExtractor is for one), got {featmap_strides!r}"
            )
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {FUSIONS}, got {fusion!r}")
        super().__init__(roi_layer, out_channels, list(featmap_strides), init_cfg)
        self.fusion: nn.Module
        if fusion == "asf":
            self.fusion = AdaptiveSpatialFusion(self.num_inputs, out_channels)
        elif fusion == "acf":
            self.fusion = AdaptiveChannelFusion(self.num_inputs, out_channels)
        else:
            self.fusion = SumFusion() if fusion == "sum" else MaxFusion()

    def build_roi_layers(
        self, layer_cfg: Mapping[str, Any], featmap_strides: list[int]
    ) -> nn.ModuleList:
        """Build the pooling of each level; ``legacy`` is explained at ``roi_layer``."""
        if not isinstance(layer_cfg, Mapping):
            raise TypeError(f"roi_layer must be a dict, got {layer_cfg!r}")
        settings = dict(layer_cfg)
        if settings.pop("legacy", False):
            allowed = {"type", "output_size", "sampling_ratio"}
            if settings.get("type") != "RoIAlign" or set(settings) - allowed:
                raise ValueError(
                    "roi_layer with legacy=True must have type='RoIAlign' and "
                    f"otherwise output_size and sampling_ratio only, got {settings!r}"
                )
            settings["type"] = LegacyRoIAlign
        return super().build_roi_layers(settings, featmap_strides)

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
            ValueError: the number of maps differs from ``featmap_strides``.
        """
        return self.fusion(self._pool(feats, rois, roi_scale_factor))

    def level_weights(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Return the weight of each level, for Fig. 4 of the paper.

        Args:
            feats: as in ``forward``.
            rois: as in ``forward``.

        Returns:
            ``(K, levels, h, w)``, each in (0, 1) and not normalised over the levels;
            ``level_shares`` turns them into the ratios of Fig. 4. The weights of
            ``'acf'`` are averaged over the channels and the same at all positions.

        Raises:
            ValueError: the fusion has no weights.
        """
        if isinstance(self.fusion, SumFusion | MaxFusion):
            raise ValueError("the fusions 'sum' and 'max' have no level weights")
        pooled = self._pool(feats, rois)
        weights = self.fusion.weights(pooled)
        if isinstance(self.fusion, AdaptiveChannelFusion):
            weights = weights.mean(2)[..., None, None]
            weights = weights.expand(-1, -1, *pooled[0].shape[2:])
        return weights

    def _pool(
        self,
        feats: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> list[Tensor]:
        """Pool all RoIs from every level, ``(K, C, h, w)`` each."""
        if len(feats) != self.num_inputs:
            raise ValueError(
                f"expected {self.num_inputs} feature maps, one per entry of "
                f"featmap_strides, got {len(feats)}"
            )
        if len(rois) == 0:
            # The operator cannot be launched for no RoI on every device; this result
            # is empty as well, and depends on the maps as far as autograd can tell.
            size = self.roi_layers[0].output_size
            return [x[:0, :, :1, :1].expand(-1, -1, *size) for x in feats]
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        pooled = []
        for roi_layer, x in zip(self.roi_layers, feats, strict=True):
            exact = torch.promote_types(x.dtype, torch.float32)
            pooled.append(roi_layer(x.to(exact), rois.to(exact)).to(x.dtype))
        return pooled


def level_shares(weights: Tensor, groups: Tensor | None = None) -> Tensor:
    """Return the share of each level in the RoI features, as Fig. 4 shows it.

    The weights are averaged over the positions of a RoI, then over RoIs, and divided by
    their sum over the levels, so that the shares sum to 1.

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
