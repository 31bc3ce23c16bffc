"""The released ASFF class: one fused level of YOLOv3."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor

from fpn_necks.layers import LevelFusion, weighted_sum

from .method import ReleasedMethod, conv, conv_module

RESIZING_BLOCKS = {
    0: {"stride_level_1": 1, "stride_level_2": 2},
    1: {"compress_level_0": 0, "stride_level_2": 2},
    2: {"compress_level_0": 0},
}
"""For each released level, the blocks that resize the others, and whom they resize."""


class ReleasedASFF(LevelFusion):
    """``LevelFusion`` of three levels, coarsest first, called as the released class.

    Args:
        level: index of the level that is made; 0 is the coarsest.
        vis: return the weights and a picture of the fused map as well.
        channels: width of each level.
        out: width of the result.
        compress_c: width of a squeezed level.
    """

    def __init__(
        self, level: int, vis: bool, channels: Sequence[int], out: int, compress_c: int
    ) -> None:
        super().__init__(
            list(channels),
            target=level,
            out_channels=out,
            order="coarse_to_fine",
            weights="compressed",
            compress_channels=compress_c,
            fusion="asff",
            settings=dict(
                norm_cfg=dict(type="BN"),
                act_cfg=dict(type="LeakyReLU", negative_slope=0.1),
            ),
        )
        self.vis = vis

    def forward(
        self, *maps: Tensor | Sequence[Tensor]
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Fuse three maps, given one by one or as one sequence, coarsest first.

        Returns:
            The fused level ``(N, out, H, W)``; with ``vis`` also the weights
            ``(N, 3, H, W)`` and the channels' sum before ``expand``, ``(N, H, W)``.
        """
        resized = self.resizing(maps[0] if len(maps) == 1 else maps)
        weights = self.weights_of(resized)
        fused = weighted_sum(resized, weights)
        result = self.expand(fused)
        return (result, weights, fused.sum(dim=1)) if self.vis else result


def _build(
    level: int,
    rfb: bool = False,
    vis: bool = False,
    channels: Sequence[int] = (512, 256, 256),
    out: int | None = None,
    compress_c: int | None = None,
) -> ReleasedASFF:
    """Build ``level_{level}_fusion`` of the released YOLOv3.

    The released class fixes the last three arguments; they are here for smaller copies
    of it.
    """
    if level not in RESIZING_BLOCKS:
        raise ValueError(f"level must be 0, 1 or 2, got {level!r}")
    if len(channels) != 3 or channels[0] == channels[1] or channels[1] != channels[2]:
        # These decide which levels pass a conv; the released class does not ask.
        raise ValueError(
            "channels must be like the released (512, 256, 256), the last two equal "
            f"and the first not, got {channels!r}"
        )
    if out is None:
        out = (1024, 512, 256)[level]
    if compress_c is None:
        compress_c = 8 if rfb else 16
    return ReleasedASFF(level, vis, channels, out, compress_c)


def _names(found: Collection[str]) -> dict[str, str]:
    blocks = {name.split(".")[0] for name in found}
    level = 0 if "stride_level_1" in blocks else 1 if "stride_level_2" in blocks else 2
    ours = {
        **{k: f"resizing.convs.{i}" for k, i in RESIZING_BLOCKS[level].items()},
        **{f"weight_level_{i}": f"scores.compress.{i}" for i in range(3)},
        "expand": "expand",
    }
    names = conv("weight_levels", "scores.score")
    for released, block in ours.items():
        names |= conv_module(released, block, norm=True, norm_name="batch_norm")
    return names


METHOD = ReleasedMethod(build=_build, names=_names)
