"""The blocks of DRFPN step by step, as the paper draws them, and their memory.

Written from the paper and the facts in the golden README: nothing is merged or split.
They read the parameters of our blocks.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakIdKeyDictionary

from fpn_necks.compatibility import release
from fpn_necks.layers import ChannelRefinement, SpatialRefinement


def plain_offset_and_weight(
    block: SpatialRefinement, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Return δ and ω of a block that learns both."""
    top_down = block.path == "top-down"
    source, target = (high, low) if top_down else (low, high)
    maps = []
    if block.reduce_source is not None:
        reduced = F.conv2d(source, block.reduce_source.weight)
        weight, bias = block.resample.weight, block.resample.bias
        if top_down:
            resampled = F.conv_transpose2d(reduced, weight, bias, 2, 1, 1)
        else:
            resampled = F.conv2d(reduced, weight, bias, 2, 1)
        maps.append(resampled[:, :, : target.shape[2], : target.shape[3]])
    if block.reduce_target is not None:
        maps.append(F.conv2d(target, block.reduce_target.weight))
    both = torch.cat(maps, dim=1) if block.inputs == "cat" else sum(maps)
    offset = F.conv2d(both, block.offset.weight, padding=1)
    hidden = torch.relu(F.conv2d(both, block.weight_hidden.weight))
    return offset, F.conv2d(hidden, block.weight.weight, block.weight.bias, padding=1)


def plain_spatial_refinement(
    block: SpatialRefinement, low: Tensor, high: Tensor
) -> Tensor:
    """Return the result with the released grid and scale of offsets."""
    offset, weight = plain_offset_and_weight(block, low, high)
    if block.path == "top-down":
        source, target = high, low
        resized = F.interpolate(high, size=low.shape[2:], mode="nearest")
    else:
        source, target = low, high
        resized = block.downsample(low)
    height, width = target.shape[2:]
    rows = torch.linspace(-1, 1, height, dtype=low.dtype)
    columns = torch.linspace(-1, 1, width, dtype=low.dtype)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    size = torch.tensor([width, height], dtype=low.dtype)
    grid = grid[None] + offset.permute(0, 2, 3, 1) / size
    sampled = F.grid_sample(
        source, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled * weight + resized


def plain_channel_refinement(
    block: ChannelRefinement, low: Tensor, high: Tensor
) -> Tensor:
    """Return a bottom-up block's result: both levels in full size until the mean."""
    if block.guide == "low":
        guide = low
    elif block.guide == "high":
        guide = high
    else:
        resized = block.downsample(low)
        guide = resized + high
        if block.guide == "cat":
            guide = block.reduce(torch.cat([resized, high], dim=1))
    weight = block.weight_conv(F.adaptive_avg_pool2d(guide, 1))
    return block.feature_conv(high) * weight


class LiveBytes(TorchDispatchMode):
    """Follow the bytes of the tensors that are made and alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = WeakIdKeyDictionary()
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.alive[storage] = storage.nbytes()
        self.peak = max(self.peak, sum(self.alive.values()))
        return result


def peak_bytes(function, *inputs: Tensor) -> int:
    """Return the peak of a forward and a backward pass beyond the inputs."""
    if release(torch.__version__) < (2, 2):
        pytest.skip("a storage of torch before 2.2 is another object at every call")
    with LiveBytes() as live:
        function(*inputs).sum().backward()
    return live.peak
