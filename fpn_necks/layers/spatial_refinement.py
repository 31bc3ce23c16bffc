"""Spatial Refinement Block of DRFPN: learnt sampling points between two levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .arguments import check_bool, check_choice, check_int
from .narrow_conv import NarrowConv
from .pyramid import fit_to, resize_to
from .recomputing import keeps_gradients

PATHS = ("top-down", "bottom-up")
INPUTS = ("cat", "low", "high", "add")
OFFSET_SCALES = ("size", "mean-side")
BASE_GRIDS = ("released", "identity")
NEAREST: Mapping[str, Any] = dict(mode="nearest")


class SpatialRefinement(nn.Module):
    """SRB: bring a level to its neighbour's size by sampling at learnt points.

    Ma and Chen, "Dual Refinement Feature Pyramid Networks", arXiv 2012.01733, Sec. 3.1,
    Eq. 1-4, Fig. 3(b). ``low`` is the finer level F_{l-1}, ``high`` the coarser F_l,
    c = C // 2::

        low  (N, C, H, W) - 1x1 -----------+
                                          cat -+- 3x3 -> δ (N, 2, H, W) -> points
        high (N, C, h, w) - 1x1 - deconv --+   +- 1x1, ReLU, 3x3 -> ω (N, 1, H, W)
                            (N, c, H, W)

        high at the points * ω + nearest up(high) -> (N, C, H, W), to be added to low

    In a bottom-up path (Table 3; ours, there is no released code) the roles are
    swapped: ``low`` is sampled at points on the grid of ``high``, a stride-2 3x3
    convolution stands in the place of the deconvolution, and another one in that of
    the nearest upsampling. Levels need not halve: what is resized follows the target.

    The released code, which is the default here, and the paper differ:

    - Eq. 2 divides δ by the mean of height and width, the code divides its x by the
      width and its y by the height: ``offset_scale``.
    - The code's grid without offset runs from -1 to 1 inclusively, which
      ``align_corners=False`` takes as the outer edges of the outermost cells: δ = 0
      stretches the map and fades at the border: ``base_grid``.
    - ω has no activation in the code and no bound; the paper does not say. So a block
      squares the scale of its maps: on a backbone whose maps are not of unit scale the
      released start diverges. Ours begins as FPN's connection (ω = δ = 0) and learns to
      sample: ``zero_init``.

    Up to ω's ReLU all is linear. So the last linear step is applied to the weights of
    the step before it rather than to maps, and the two levels' parts are added rather
    than concatenated: the same numbers up to rounding with fewer and smaller maps.

    Args:
        channels: width C of both levels, at least 2.
        path: ``'top-down'`` samples ``high``, ``'bottom-up'`` samples ``low``.
        inputs: what δ and ω are derived from (Table 5): both levels concatenated
            (``'cat'``) or added (``'add'``), or ``'low'`` or ``'high'`` alone.
        sampling_offset: learn δ (Table 4, SPO); otherwise δ = 0.
        sampling_weight: learn ω (Table 4, GIR); otherwise ω = 1.
        offset_scale: what δ is divided by. ``'size'``: (W, H) of the target level.
            ``'mean-side'``: their mean (Eq. 2).
        base_grid: the points for δ = 0. ``'released'``: see above. ``'identity'``: the
            centres of the target level's cells.
        upsample_cfg: how ``high`` is upsampled before the sampled map is added, as
            ``F.interpolate`` takes it; the bottom-up path does not read it.
        zero_init: start with ω = δ = 0. ``False`` is the released start, where the
            convolutions of δ and ω are initialised as all others.

    Raises:
        TypeError: ``channels`` is not an integer, or a switch not a bool.
        ValueError: an argument has a value that is not allowed, or neither δ nor ω is
            learnt, so that nothing is refined.
    """

    def __init__(
        self,
        channels: int,
        path: str = "top-down",
        inputs: str = "cat",
        sampling_offset: bool = True,
        sampling_weight: bool = True,
        offset_scale: str = "size",
        base_grid: str = "released",
        upsample_cfg: Mapping[str, Any] = NEAREST,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        check_int("channels", channels, minimum=2)
        self.path = check_choice("path", path, PATHS)
        self.inputs = check_choice("inputs", inputs, INPUTS)
        self.offset_scale = check_choice("offset_scale", offset_scale, OFFSET_SCALES)
        self.base_grid = check_choice("base_grid", base_grid, BASE_GRIDS)
        check_bool("sampling_offset", sampling_offset)
        if not check_bool("sampling_weight", sampling_weight) and not sampling_offset:
            raise ValueError(
                "sampling_offset or sampling_weight must be True: without both nothing "
                "is refined"
            )
        self.upsample_cfg = upsample_cfg
        self.zero_init = check_bool("zero_init", zero_init)

        reduced = channels // 2
        is_top_down = path == "top-down"
        source_name, target_name = ("high", "low") if is_top_down else ("low", "high")
        self.reduce_source = self.reduce_target = self.resample = None
        if inputs != target_name:
            self.reduce_source = nn.Conv2d(channels, reduced, 1, bias=False)
            self.resample = (
                nn.ConvTranspose2d(reduced, reduced, 3, 2, 1, output_padding=1)
                if is_top_down
                else nn.Conv2d(reduced, reduced, 3, 2, 1)
            )
        if inputs != source_name:
            self.reduce_target = nn.Conv2d(channels, reduced, 1, bias=False)

        width = 2 * reduced if inputs == "cat" else reduced
        self.offset = self.weight_hidden = self.weight = self.downsample = None
        if sampling_offset:
            self.offset = NarrowConv(width, 2, bias=False)
        if sampling_weight:
            self.weight_hidden = nn.Conv2d(width, reduced, 1, bias=False)
            self.weight = NarrowConv(reduced, 1)
        if not is_top_down:
            self.downsample = nn.Conv2d(channels, channels, 3, 2, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Start at ω = δ = 0, if ``zero_init``."""
        for conv in (self.offset, self.weight):
            if self.zero_init and conv is not None:
                for parameter in conv.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Bring one level to the size of the other, to which it can be added.

        Args:
            low: the finer level, ``(N, C, H, W)``.
            high: the coarser level, ``(N, C, h, w)``.

        Returns:
            A map like ``low`` in a top-down path, like ``high`` in a bottom-up path.
        """
        offset, weight = self.offset_and_weight(low, high)
        if self.path == "top-down":
            source, target = high, low
            resized = resize_to(high, low, self.upsample_cfg)
        else:
            source, target = low, high
            resized = fit_to(self.downsample(low), high)
        grid = self.sampling_grid(offset, target)
        # Points need float32: half precision cannot tell neighbouring cells of a large
        # map apart. What is read there keeps the type of the maps.
        sampled = F.grid_sample(source.to(grid.dtype), grid, align_corners=False)
        sampled = sampled.to(resized.dtype)
        # In place: most of the time of adding large maps goes into new memory.
        if weight is None:
            return sampled.add_(resized)
        if keeps_gradients():  # those of addcmul take more memory
            return (sampled * weight).add_(resized)
        return resized.addcmul_(sampled, weight)

    def offset_and_weight(
        self, low: Tensor, high: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return δ and ω on the grid of the target level; ``None`` if not learnt.

        δ, ``(N, 2, H, W)``, is x before y and not yet divided by ``offset_scale``; ω is
        ``(N, 1, H, W)``. In a bottom-up path they have the size of ``high``.
        """
        x = self._linear_part(low, high)
        offset = weight = None
        if self.offset is not None:
            # A copy: a view would keep all of x in memory until the backward pass.
            offset = self.offset.shift_and_add(x[:, :18].clone())
            x = x[:, 18:]
        if self.weight is not None:
            weight = self.weight(F.relu(x))
        return offset, weight

    def _linear_part(self, low: Tensor, high: Tensor) -> Tensor:
        """Return δ's 18 products, then ω's hidden map before its ReLU."""
        readers = []
        if self.offset is not None:
            readers.append(self.offset.products())
        if self.weight_hidden is not None:
            readers.append(self.weight_hidden.weight[:, :, 0, 0])
        source_reader = target_reader = torch.cat(readers)
        if self.inputs == "cat":
            source_reader, target_reader = source_reader.chunk(2, dim=1)

        source, target = (high, low) if self.path == "top-down" else (low, high)
        parts = []
        if self.reduce_target is not None:
            merged = target_reader @ self.reduce_target.weight[:, :, 0, 0]
            parts.append(F.conv2d(target, merged[:, :, None, None]))
        if self.reduce_source is not None:
            resampled = self._resample(self.reduce_source(source), source_reader)
            parts.append(fit_to(resampled, target))
        return parts[0] if len(parts) == 1 else parts[0].add_(parts[1])

    def _resample(self, x: Tensor, reader: Tensor) -> Tensor:
        """Return what ``reader``, ``(R, c)``, gives of the resampled map."""
        weight, bias = self.resample.weight, reader @ self.resample.bias
        if self.path == "top-down":
            # An einsum would give a weight in channels_last, and make the maps so, too.
            readers = reader.expand(weight.shape[0], -1, -1)
            merged = torch.bmm(readers, weight.flatten(2)).unflatten(2, (3, 3))
            return F.conv_transpose2d(x, merged, bias, 2, 1, output_padding=1)
        merged = torch.einsum("oihw,ro->rihw", weight, reader)
        return F.conv2d(x, merged, bias, 2, 1)

    def sampling_grid(self, offset: Tensor | None, target: Tensor) -> Tensor:
        """Return where the source is read for every place of the target.

        Args:
            offset: ``(N, 2, H, W)``, x before y, as the block predicts it; None reads
                at the places themselves.
            target: map of the size wanted, ``(N, C, H, W)``.

        Returns:
            ``(N, H, W, 2)``, x before y, as ``grid_sample`` takes it: [-1, 1] is the
            source.
        """
        batch, _, height, width = target.shape
        x = self._positions(width, target)
        y = self._positions(height, target)[:, None]
        if offset is None:
            x, y = x.expand(batch, height, width), y.expand(batch, height, width)
        elif self.offset_scale == "size":
            x, y = x + offset[:, 0] / width, y + offset[:, 1] / height
        else:
            offset = offset * 2 / (height + width)
            x, y = x + offset[:, 0], y + offset[:, 1]
        return torch.stack([x, y], dim=-1)

    def _positions(self, length: int, like: Tensor) -> Tensor:
        dtype = torch.promote_types(like.dtype, torch.float32)
        if self.base_grid == "released":
            return torch.linspace(-1, 1, length, dtype=dtype, device=like.device)
        cells = torch.arange(length, dtype=dtype, device=like.device)
        return (2 * cells + 1) / length - 1
