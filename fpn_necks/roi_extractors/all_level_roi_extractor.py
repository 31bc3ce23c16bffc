"""Pooling every RoI from all levels, as two parts of AugFPN do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor, nn

from fpn_necks.layers import (
    check_bool,
    check_int,
    check_list,
    check_maps,
    check_number,
    in_graph,
)

from .roi_align import PixelSumRoIAlign

# Samples per cell and direction in AugFPN's released configs. mmcv's own default, 0,
# takes as many as the RoI has cells: thousands for a large RoI on the finest level.
SAMPLING_RATIO = 2

InitSettings = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class LegacyRoIAlign(PixelSumRoIAlign):
    """The RoIAlign of the first mmdet, with which the authors of AugFPN trained.

    It is the aligned operator on ``[x1 + s/2, y1 + s/2, x2 + 1 + s/2, y2 + 1 + s/2]``,
    where s is the stride, with negative extents clamped at 0. mmcv's ``aligned=False``
    is another operator: it adds no 1 and gives every RoI at least the extent of one
    cell.

    Args:
        output_size: height and width of the result.
        spatial_scale: 1 / stride.
        sampling_ratio: samples per cell and direction; 0 takes as many as the RoI has
            cells of the map.
        inclusive: x2 and y2 are the last pixels inside the RoI, as in the boxes that
            released weights were trained on. ``False`` adds no 1: it pools a box of
            mmdet 3 as the released code pools the inclusive box of the same extent.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = SAMPLING_RATIO,
        inclusive: bool = True,
    ) -> None:
        super().__init__(output_size, spatial_scale, sampling_ratio)
        self.inclusive = check_bool("inclusive", inclusive)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool ``(N, C, H, W)`` at ``(K, 5)`` RoIs to ``(K, C, *output_size)``."""
        half_cell = 0.5 / self.spatial_scale
        start = rois[:, 1:3] + half_cell
        end = torch.maximum(rois[:, 3:5] + (self.inclusive + half_cell), start)
        return super().forward(input, torch.cat([rois[:, :1], start, end], dim=1))


class AllLevelPooling(BaseRoIExtractor):
    """Base of the extractors that pool every RoI from all levels.

    RoIs are pooled in single precision under mixed precision too: half precision places
    coordinates beyond 2048 at every second pixel only. Results have the type of the
    maps. Without any RoI the result is empty and still gives maps and parameters a
    gradient, of zeros, which distributed training waits for.

    Args:
        roi_layer: config of the pooling of one level, as in mmdet's extractors. Without
            a ``sampling_ratio``, ``RoIAlign`` gets the released 2. An additional
            ``legacy=True`` makes it the authors' old operator, whose boxes
            ``inclusive`` describes, see ``LegacyRoIAlign``.
        out_channels: width C of the maps.
        featmap_strides: stride of each level, at least ``min_levels``.
        init_cfg: initialisation; ``None`` keeps PyTorch's own.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.
    """

    min_levels = 1

    def __init__(
        self,
        roi_layer: Mapping[str, Any],
        out_channels: int,
        featmap_strides: Sequence[int],
        init_cfg: InitSettings = None,
    ) -> None:
        check_int("out_channels", out_channels)
        strides = check_list("featmap_strides", featmap_strides)
        for stride in strides:
            check_number("featmap_strides", stride, above=0)
        if len(featmap_strides) < self.min_levels:
            raise ValueError(
                f"featmap_strides must name at least {self.min_levels} levels to take "
                f"features from, got {featmap_strides!r}"
            )
        super().__init__(roi_layer, out_channels, strides, init_cfg)

    def build_roi_layers(
        self, layer_cfg: Mapping[str, Any], featmap_strides: list[int]
    ) -> nn.ModuleList:
        """Build the pooling of each level; ``legacy`` is explained at ``roi_layer``."""
        if not isinstance(layer_cfg, Mapping):
            raise TypeError(f"roi_layer must be a dict, got {layer_cfg!r}")
        settings = dict(layer_cfg)
        legacy = settings.pop("legacy", False)
        if settings.get("type") in ("RoIAlign", RoIAlign):
            settings.setdefault("sampling_ratio", SAMPLING_RATIO)
            settings["type"] = LegacyRoIAlign if legacy else PixelSumRoIAlign
        elif legacy:
            raise ValueError(
                f"roi_layer with legacy=True must have type='RoIAlign', got {settings}"
            )
        try:
            layers = super().build_roi_layers(settings, featmap_strides)
            height, width = layers[0].output_size
            check_int("output_size", height)
            check_int("output_size", width)
            check_int("sampling_ratio", getattr(layers[0], "sampling_ratio", 0), 0)
            check_bool("aligned", getattr(layers[0], "aligned", True))
        except Exception as error:  # an assertion of mmdet, mostly
            raise ValueError(
                "roi_layer must describe a pooling of mmcv.ops with its output_size, "
                f"got {layer_cfg!r}: {type(error).__name__}: {error}"
            ) from error
        return layers

    def pool(
        self,
        feats: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> list[Tensor]:
        """Pool all RoIs from every level, ``(K, C, h, w)`` each.

        Raises:
            TypeError: the maps are no list of tensors.
            ValueError: the maps or ``rois`` have the wrong shape; on a CPU also where a
                RoI is not finite or inside out or belongs to no image: mmcv's operator
                reads memory without testing that. A GPU would have to be waited for.
        """
        feats = check_maps(feats)
        if len(feats) != self.num_inputs:
            raise ValueError(
                f"expected {self.num_inputs} feature maps, one per entry of "
                f"featmap_strides, got {len(feats)}"
            )
        clamped = isinstance(self.roi_layers[0], LegacyRoIAlign)
        _check_rois(rois, len(feats[0]), clamped)
        return [
            self.pool_level(level, x, rois, roi_scale_factor)
            for level, x in enumerate(feats)
        ]

    def pool_level(
        self,
        level: int,
        x: Tensor,
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Pool RoIs from one level, ``(K, C, h, w)``."""
        roi_layer = self.roi_layers[level]
        if len(rois) == 0:
            # The operator cannot be launched for no RoI on every device; this result
            # is empty as well, and depends on the map as far as autograd can tell.
            return x[:0, :, :1, :1].expand(-1, -1, *roi_layer.output_size)
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        exact = torch.promote_types(x.dtype, torch.float32)
        # mmcv's operator reads maps in channels_last as if they were not, silently.
        maps = x.to(exact).contiguous()
        return roi_layer(maps, rois.to(exact).contiguous()).to(x.dtype)


@MODELS.register_module()
class AllLevelRoIExtractor(AllLevelPooling):
    """Pool every RoI from each level, without fusing what comes from the levels.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Sec. 3.1: the auxiliary head
    sees every RoI once per level. The arguments are those of ``AllLevelPooling``.
    """

    def forward(
        self,
        feats: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Extract the features of RoIs from every level, see ``SoftRoIExtractor``.

        Returns:
            ``(K * levels, C, h, w)``: row ``k * levels + l`` is RoI k on level l.
        """
        pooled = self.pool(feats, rois, roi_scale_factor)
        return torch.stack(pooled, dim=1).flatten(0, 1)


def _check_rois(rois: Tensor, num_images: int, clamped: bool) -> None:
    if in_graph():
        return
    shape = tuple(getattr(rois, "shape", ()))
    if len(shape) != 2 or shape[1] != 5:
        raise ValueError(f"rois must be a tensor of the shape (K, 5), got {shape}")
    if rois.device.type != "cpu":
        return
    if not rois.isfinite().all():
        raise ValueError("rois must be finite")
    if not clamped and (rois[:, 3:] < rois[:, 1:3]).any():
        raise ValueError("rois must have x2 >= x1 and y2 >= y1")
    image = rois[:, 0]
    if (image < 0).any() or (image >= num_images).any():
        raise ValueError(
            f"rois must name images 0 to {num_images - 1} in their first column, got "
            f"{image.min().item():g} to {image.max().item():g}"
        )
