"""The pooling of maskrcnn-benchmark, on which the S-α paper's code is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor, nn

from .roi_align import PixelSumRoIAlign


class InclusiveRoIAlign(PixelSumRoIAlign):
    """RoIAlign that takes the last pixel inside a RoI for its end."""

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool ``(N, C, H, W)`` at ``(K, 5)`` RoIs to ``(K, C, h, w)``."""
        return super().forward(input, rois - rois.new_tensor([0, 0, 0, 1, 1]))


@MODELS.register_module()
class InclusiveRoIExtractor(SingleRoIExtractor):
    """``SingleRoIExtractor`` whose RoIs end at x2 - 1 and y2 - 1.

    Released code of Gong et al., "Effective Fusion Factor in FPN for Tiny Object
    Detection", WACV 2021: boxes name their last pixel there, and RoIAlign pools up to
    it, one pixel less than the box: an eighth of a person of 8 pixels. The level is
    chosen by the whole box. It takes ``sampling_ratio=2, aligned=False`` besides.

    Args:
        *args: those of mmdet's ``SingleRoIExtractor``, as the next; the type of
            `roi_layer` must be ``RoIAlign``.
        **kwargs: see ``*args``.

    Raises:
        ValueError: `roi_layer` is another one.
    """

    def build_roi_layers(
        self, layer_cfg: Mapping[str, Any], featmap_strides: list[int]
    ) -> nn.ModuleList:
        """Build the pooling of each level."""
        if layer_cfg["type"] != "RoIAlign":
            raise ValueError(
                f"roi_layer must have type='RoIAlign', got {layer_cfg['type']!r}"
            )
        layer_cfg = dict(layer_cfg, type=InclusiveRoIAlign)
        return super().build_roi_layers(layer_cfg, featmap_strides)
