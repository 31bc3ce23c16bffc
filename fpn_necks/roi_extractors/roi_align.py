"""RoIAlign, on a CPU as one weighted sum of the map's pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.ops import RoIAlign
from torch import Tensor

from fpn_necks.layers import in_graph


class PixelSumRoIAlign(RoIAlign):
    """mmcv's RoIAlign, which takes two to three times as long on a CPU.

    mmcv's operator walks a map channel by channel, a few scattered pixels of each.
    Here a cell of a RoI is the weighted sum of 4 · ``sampling_ratio``² pixels with all
    their channels, which lie next to each other: PyTorch's ``embedding_bag``. Results
    and gradients are equal up to rounding. Where mmcv's operator is needed it is used:
    on GPUs, in exported and compiled graphs, for maxima, and for ``sampling_ratio=0``.
    """

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool ``(N, C, H, W)`` at ``(K, 5)`` RoIs to ``(K, C, *output_size)``."""
        if (
            input.device.type != "cpu"
            or input.dtype not in (torch.float32, torch.float64)
            or in_graph()
            or self.pool_mode != "avg"
            or self.use_torchvision
            or not self.sampling_ratio
            or not len(rois)
        ):
            return super().forward(input, rois)
        (rows, columns), ratio = self.output_size, self.sampling_ratio
        (_, channels, height, width), number = input.shape, len(rois)
        with torch.no_grad():
            corners = rois[:, 1:] * self.spatial_scale - 0.5 * self.aligned
            start, extent = corners[:, :2], corners[:, 2:] - corners[:, :2]
            if not self.aligned:
                extent = extent.clamp(min=1)
            x, x_weights = _pixels(start[:, 0], extent[:, 0], columns, ratio, width)
            y, y_weights = _pixels(start[:, 1], extent[:, 1], rows, ratio, height)
            # (K, rows, columns, 2 · ratio in y, 2 · ratio in x)
            y, y_weights = (t[:, :, None, :, None] for t in (y, y_weights))
            x, x_weights = (t[:, None, :, None, :] for t in (x, x_weights))
            image = rois[:, 0].long()[:, None, None, None, None]
            pixels = ((image * height + y) * width + x).flatten(3).flatten(0, 2)
            weights = (y_weights * x_weights).flatten(3).flatten(0, 2)
        if input.requires_grad and torch.is_grad_enabled():
            # As mmcv's: another layout would change the operators behind it.
            input = input.view_as(input)
            input.register_hook(torch.Tensor.contiguous)
        table = input.permute(0, 2, 3, 1).reshape(-1, channels)
        sums = F.embedding_bag(
            pixels, table, per_sample_weights=weights.to(table.dtype), mode="sum"
        )
        sums = sums.view(number, rows, columns, channels)
        return sums.permute(0, 3, 1, 2).contiguous()


def _pixels(
    start: Tensor, extent: Tensor, cells: int, ratio: int, side: int
) -> tuple[Tensor, Tensor]:
    """Return the pixels that each cell reads along one side, and their weights.

    Args:
        start: ``(K,)``, in pixels of the map; pixel i has its centre at i.
        extent: ``(K,)``, alike.
        cells: cells of a RoI.
        ratio: samples of a cell; each lies between two pixels.
        side: pixels of the map.

    Returns:
        ``(K, cells, 2 * ratio)`` indices and weights. The weights of a cell sum to 1;
        a sample more than a pixel outside the map counts as 0.
    """
    cell = (extent / cells)[:, None, None]
    first = torch.arange(cells, dtype=start.dtype)[:, None] * cell
    places = torch.arange(ratio, dtype=start.dtype) + 0.5
    # In mmcv's order of operations: samples may lie on the very border.
    samples = (start[:, None, None] + first + places * cell / ratio).flatten(1)
    inside = (samples >= -1) & (samples <= side)
    samples = samples.clamp(0, side - 1)
    low = samples.floor().clamp(max=max(side - 2, 0))
    high = (low + 1).clamp(max=side - 1)
    share = samples - low
    weights = torch.stack([1 - share, share], dim=2) * inside[..., None] / ratio
    pixels = torch.stack([low, high], dim=2).long()
    shape = len(start), cells, 2 * ratio
    return pixels.view(shape), weights.view(shape)
