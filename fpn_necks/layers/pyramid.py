"""The steps that feature pyramids share: laterals, top-down, outputs, extra levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .arguments import check_bool
from .conv_block import ConvSettings, conv_block
from .recomputing import keeps_gradients

EXTRA_LEVEL_SOURCES = ("on_input", "on_lateral", "on_output")


class LateralConvs(nn.ModuleList):
    """One 1x1 conv per used level that brings its map to the pyramid's width.

    A ``ModuleList``, for the sake of mmdet's parameter names; so is ``OutputConvs``.

    Args:
        in_channels: width of each used backbone map.
        out_channels: width of the pyramid.
        settings: conv, norm and activation of each block.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, settings: ConvSettings
    ) -> None:
        super().__init__(
            conv_block(channels, out_channels, 1, inplace=False, **settings)
            for channels in in_channels
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map ``(N, C_i, H_i, W_i)`` to ``(N, out_channels, H_i, W_i)`` per level."""
        return [conv(x) for conv, x in zip(self, maps, strict=True)]


class OutputConvs(nn.ModuleList):
    """One 3x3 conv per pyramid level, and behind them the convs of the extra levels.

    mmdet keeps both in one list, ``fpn_convs``; ``extra`` gives the second part.

    Args:
        num_levels: number of pyramid levels that have a 3x3 conv of stride 1.
        in_channels: width of the fused maps.
        out_channels: width of the maps these convs return.
        extra_in_channels: input width of each extra level's 3x3 conv of stride 2.
        settings: conv, norm and activation of each block.
    """

    def __init__(
        self,
        num_levels: int,
        in_channels: int,
        out_channels: int,
        extra_in_channels: Sequence[int],
        settings: ConvSettings,
    ) -> None:
        strides_and_inputs = [(1, in_channels)] * num_levels
        strides_and_inputs += [(2, channels_in) for channels_in in extra_in_channels]
        super().__init__(
            conv_block(
                channels_in, out_channels, 3, stride, 1, inplace=False, **settings
            )
            for stride, channels_in in strides_and_inputs
        )
        self.num_levels = num_levels

    @property
    def extra(self) -> list[nn.Module]:
        """The convs of the extra levels."""
        return list(self)[self.num_levels :]

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Map ``(N, in_channels, H_i, W_i)`` to ``(N, out_channels, H_i, W_i)``."""
        convs = list(self)[: self.num_levels]
        return [conv(x) for conv, x in zip(convs, pyramid, strict=True)]


class ExtraLevels:
    """The levels above the last backbone level; the meaning is that of mmdet's ``FPN``.

    Args:
        num_levels: how many levels are added.
        source: ``False``: max pooling with stride 2 of the highest output.
            ``'on_input'`` (or ``True``), ``'on_lateral'``, ``'on_output'``: stride-2
            convs, the first of them on the last backbone map, the highest fused lateral
            or the highest output.
        relu_before_convs: ReLU before each of these convs but the first.

    Raises:
        ValueError: ``source`` is none of the above.
    """

    def __init__(
        self,
        num_levels: int,
        source: bool | str = False,
        relu_before_convs: bool = False,
    ) -> None:
        if not isinstance(source, bool) and source not in EXTRA_LEVEL_SOURCES:
            raise ValueError(
                "add_extra_convs must be True, False or one of "
                f"{EXTRA_LEVEL_SOURCES}, got {source!r}"
            )
        self.num_levels = num_levels
        self.source = "on_input" if source is True else source
        self.relu_before_convs = check_bool(
            "relu_before_extra_convs", relu_before_convs
        )

    def conv_in_channels(
        self, backbone_channels: int, lateral_channels: int, out_channels: int
    ) -> list[int]:
        """Return the input width of each extra level's conv, empty when pooling."""
        if self.source is False:
            return []
        sources = {"on_input": backbone_channels, "on_lateral": lateral_channels}
        widths = [sources.get(self.source, out_channels)]
        return (widths + [out_channels] * self.num_levels)[: self.num_levels]

    def __call__(
        self,
        convs: Sequence[nn.Module],
        backbone_map: Tensor,
        lateral: Tensor,
        output: Tensor,
        context: Tensor | None = None,
    ) -> list[Tensor]:
        """Compute the added maps, each half the size of the one before, rounded up.

        Args:
            convs: the convs whose inputs ``conv_in_channels`` describes.
            backbone_map: last used backbone map.
            lateral: highest lateral after the fusion of levels.
            output: highest output so far.
            context: added to the first added map before the next is derived from it;
                ``(N, C, 1, 1)`` or of the map's size.
        """
        sources = {"on_input": backbone_map, "on_lateral": lateral}
        x = sources.get(self.source, output)
        added: list[Tensor] = []
        for i in range(self.num_levels):
            if self.source is False:
                x = F.max_pool2d(x, 1, stride=2)
            else:
                x = convs[i](F.relu(x) if i and self.relu_before_convs else x)
            if i == 0 and context is not None:
                x = x + context
            added.append(x)
        return added


def resize_to(x: Tensor, target: Tensor, upsample_cfg: Mapping[str, Any]) -> Tensor:
    """Resize ``x`` to the height and width of ``target``.

    A ``scale_factor`` in ``upsample_cfg``, as in mmdet's ``FPN``, is not used: the
    result is the same, but for sides that it would not match.
    """
    settings = {k: v for k, v in upsample_cfg.items() if k != "scale_factor"}
    return F.interpolate(x, size=target.shape[2:], **settings)


def fit_to(x: Tensor, target: Tensor) -> Tensor:
    """Resize ``x`` to the height and width of ``target``, if they differ.

    Nearest: a map that is one row or column too large is cropped.
    """
    # A trace must also fit maps of other sizes than those it was made with.
    if not torch.jit.is_tracing() and x.shape[2:] == target.shape[2:]:
        return x
    return F.interpolate(x, size=target.shape[2:], mode="nearest")


def top_down(
    laterals: Sequence[Tensor], merge: Callable[[int, Tensor, Tensor], Tensor]
) -> list[Tensor]:
    """Merge levels from the lowest resolution to the highest; order and shapes stay.

    Args:
        laterals: one ``(N, C, H_i, W_i)`` map per level, high to low resolution.
        merge: called from the top as ``merge(i, laterals[i], merged_upper)``, where
            connection ``i`` joins level ``i`` and the already merged level ``i + 1``.
    """
    merged = [laterals[-1]]
    for i in range(len(laterals) - 2, -1, -1):
        merged.append(merge(i, laterals[i], merged[-1]))
    return merged[::-1]


def weighted_top_down(
    laterals: Sequence[Tensor],
    factor: Sequence[float] | Callable[[int, Tensor], Tensor],
    upsample_cfg: Mapping[str, Any],
) -> list[Tensor]:
    """Add to each lateral the resized level above it, times a fusion factor.

    Args:
        laterals: one ``(N, C, H_i, W_i)`` map per level, high to low resolution.
        factor: one number per connection, or ``factor(i, upper)``, which scales what
            connection ``i`` passes down.
        upsample_cfg: see ``resize_to``.
    """

    def merge(connection: int, lateral: Tensor, upper: Tensor) -> Tensor:
        if callable(factor):
            upper = factor(connection, upper)
        elif factor[connection] != 1 and keeps_gradients():
            # The gradient of the smaller map is the one to be scaled.
            upper = upper * factor[connection]
        else:
            resized = resize_to(upper, lateral, upsample_cfg)
            return torch.add(lateral, resized, alpha=factor[connection])
        return lateral + resize_to(upper, lateral, upsample_cfg)

    return top_down(laterals, merge)
