"""The RoI extractor of AugFPN's consistent supervision: all levels, one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from torch import Tensor

from .all_level_pooling import AllLevelPooling


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
        """Extract the features of RoIs from every level.

        The arguments are those of ``SoftRoIExtractor.forward``.

        Returns:
            ``(K * levels, C, *output_size)``: row ``k * levels + l`` is RoI k on level
            l.
        """
        pooled = self.pool(feats, rois, roi_scale_factor)
        return torch.stack(pooled, dim=1).flatten(0, 1)
