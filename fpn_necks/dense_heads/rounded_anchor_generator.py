"""The anchors of maskrcnn-benchmark, on which the S-α paper's code is built."""

from __future__ import annotations

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class RoundedAnchorGenerator(AnchorGenerator):
    """Anchors in the middle of their cells, with sides rounded at the stride's scale.

    Released code of Gong et al., "Effective Fusion Factor in FPN for Tiny Object
    Detection", WACV 2021: a ratio r (height by width) turns a square of one stride into
    one of ``round(stride / √r)`` by ``round(width · r)`` pixels, which is then scaled
    to the size of the anchor. At stride 4 the ratios 0.5 and 2 give 6 x 3 and 3 x 6 in
    the place of 5.66 x 2.83 and 2.83 x 5.66, an eighth more in area.

    Args:
        *args: those of mmdet's ``AnchorGenerator``, as the next; `centers` and
            `center_offset` have no effect.
        **kwargs: see ``*args``.
    """

    def gen_base_anchors(self) -> list[Tensor]:
        """Return the anchors ``(A, 4)`` of the first cell of each level, in pixels."""
        levels = []
        for size, (stride, _) in zip(self.base_sizes, self.strides, strict=True):
            widths = (stride / self.ratios.sqrt()).round()
            sides = torch.stack([widths, (widths * self.ratios).round()], dim=1)
            scales = self.scales * (size / stride)
            halves = (sides[:, None] * scales[:, None] / 2).flatten(0, 1)
            levels.append(stride / 2 + torch.cat([-halves, halves], dim=1))
        return levels
