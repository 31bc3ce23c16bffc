"""Fuse all levels of a pyramid into one of them: weighted, summed or concatenated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .arguments import check_choice
from .conv_block import ConvSettings, conv_block
from .level_resizing import LevelResizing
from .map_fusion import weighted_sum
from .pyramid import fit_to

FUSIONS = ("asff", "sum", "concat")
LEVEL_WEIGHTS = ("compressed", "direct")


class CompressedLevelScores(nn.Module):
    """How much each level counts, from all levels together, as released.

    A 1x1 conv block squeezes each level; one 1x1 conv turns all of them into one score
    map per level.
    """

    def __init__(
        self,
        num_levels: int,
        channels: int,
        compress_channels: int,
        settings: ConvSettings,
    ) -> None:
        super().__init__()
        self.compress = nn.ModuleList(
            conv_block(channels, compress_channels, 1, **settings)
            for _ in range(num_levels)
        )
        self.score = nn.Conv2d(num_levels * compress_channels, num_levels, 1)
        # One call for all levels, unless each has weights of its own (PReLU).
        activations = (b.activate for b in self.compress if b.with_activation)
        self.activates_each = any(list(a.parameters()) for a in activations)

    def forward(self, maps: Sequence[Tensor], target: int = 0) -> Tensor:
        """Map n levels of ``(N, C, H_i, W_i)`` to scores ``(N, n, H, W)``.

        Coarser maps are convolved before they are enlarged to the size of the map
        ``target``: the same numbers by a fraction of the products.
        """
        squeezed = []
        for block, x in zip(self.compress, maps, strict=True):
            x = fit_to(block(x, norm=False, activate=False), maps[target])
            x = block.norm(x) if block.with_norm else x
            squeezed.append(block.activate(x) if self.activates_each else x)
        joined = torch.cat(squeezed, dim=1)
        if block.with_activation and not self.activates_each:
            joined = block.activate(joined)
        return self.score(joined)


class DirectLevelScores(nn.Module):
    """How much each level counts, from that level alone: λ of the paper's Eq. 2."""

    def __init__(self, num_levels: int, channels: int) -> None:
        super().__init__()
        self.score = nn.ModuleList(nn.Conv2d(channels, 1, 1) for _ in range(num_levels))

    def forward(self, maps: Sequence[Tensor], target: int = 0) -> Tensor:
        """Do what ``CompressedLevelScores.forward`` does."""
        pairs = zip(self.score, maps, strict=True)
        return torch.cat([fit_to(conv(x), maps[target]) for conv, x in pairs], dim=1)


class LevelFusion(nn.Module):
    """One fused level: resize all levels to it, fuse them, 3x3 conv block.

    Liu et al., "Learning Spatial Fusion for Single-Shot Object Detection"
    (arXiv 1911.09516), Sec. 3.2, Eq. 1 and 2::

        x^1 .. x^n -> resizing -> x^{1->l} .. x^{n->l} -> weighted sum -> expand -> y^l
                                          |                   ^
                                          +-> scores -> softmax over levels

    Args:
        in_channels: width of each level.
        target: index of the level that is made.
        out_channels: width of the result.
        order: see ``LevelResizing``.
        weights: ``'compressed'``: see ``CompressedLevelScores``, as released;
            ``'direct'``: see ``DirectLevelScores``, as in the paper.
        compress_channels: width of a squeezed level of ``'compressed'`` weights.
        fusion: ``'asff'``: the weighted sum; ``'sum'``: the plain one; ``'concat'``:
            the levels behind each other, which makes ``expand`` n times larger.
        settings: conv, norm and activation of each block.

    Raises:
        ValueError: ``target``, ``order``, ``weights`` or ``fusion`` is not allowed.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        target: int,
        out_channels: int,
        order: str,
        weights: str,
        compress_channels: int,
        fusion: str,
        settings: ConvSettings,
    ) -> None:
        super().__init__()
        check_choice("weights", weights, LEVEL_WEIGHTS)
        self.fusion = check_choice("fusion", fusion, FUSIONS)
        self.resizing = LevelResizing(in_channels, target, order, settings)
        num_levels, width = len(in_channels), in_channels[target]
        if fusion == "asff" and weights == "direct":
            self.scores = DirectLevelScores(num_levels, width)
        elif fusion == "asff":
            self.scores = CompressedLevelScores(
                num_levels, width, compress_channels, settings
            )
        fused_width = num_levels * width if fusion == "concat" else width
        self.expand = conv_block(fused_width, out_channels, 3, padding=1, **settings)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map all levels ``(N, C_i, H_i, W_i)`` to ``(N, out_channels, H, W)``."""
        if self.fusion == "asff":
            convolved = self.resizing.convolve(maps)
            return self.expand(weighted_sum(convolved, self._weights_of(convolved)))
        resized = self.resizing(maps)
        if self.fusion == "sum":
            return self.expand(sum(resized[1:], resized[0]))
        return self.expand(torch.cat(resized, dim=1))

    def weight_maps(self, maps: Sequence[Tensor]) -> Tensor:
        """Return α, β, γ … of Eq. 1: ``(N, n, H, W)``, each place sums to 1.

        Raises:
            ValueError: ``fusion`` is not ``'asff'``.
        """
        if self.fusion != "asff":
            raise ValueError(f"only fusion='asff' has weights, not {self.fusion!r}")
        return self._weights_of(self.resizing.convolve(maps))

    def _weights_of(self, convolved: Sequence[Tensor]) -> Tensor:
        return softmax_over_levels(self.scores(convolved, self.resizing.target))


def softmax_over_levels(scores: Tensor) -> Tensor:
    """Turn scores ``(N, n, H, W)`` into weights, at least in float32 (Eq. 2)."""
    double = scores.dtype == torch.float64
    return scores.softmax(dim=1, dtype=torch.float64 if double else torch.float32)
