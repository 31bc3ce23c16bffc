"""The released ASFF class: one fused level of YOLOv3."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fpn_necks.layers import LevelFusion

from .method import ReleasedMethod, conv, conv_module

RESIZING_BLOCKS = {
    0: {"stride_level_1": 1, "stride_level_2": 2},
    1: {"compress_level_0": 0, "stride_level_2": 2},
    2: {"compress_level_0": 0},
}
"""For each released level, the blocks that resize the others, and whom they resize."""


def _build(
    level: int,
    rfb: bool = False,
    channels: Sequence[int] = (512, 256, 256),
    out: int | None = None,
    compress_c: int | None = None,
) -> LevelFusion:
    """Build ``level_{level}_fusion``; the last three arguments make smaller copies.

    It is called with the list of maps, coarsest first. The released class returns its
    weights as well if ``vis`` is set; here they are ``weight_maps(maps)``.
    """
    if level not in RESIZING_BLOCKS:
        raise ValueError(f"level must be 0, 1 or 2, got {level!r}")
    return LevelFusion(
        list(channels),
        target=level,
        out_channels=(1024, 512, 256)[level] if out is None else out,
        order="coarse_to_fine",
        weights="compressed",
        compress_channels=(8 if rfb else 16) if compress_c is None else compress_c,
        fusion="asff",
        settings=dict(
            norm_cfg=dict(type="BN"),
            act_cfg=dict(type="LeakyReLU", negative_slope=0.1),
        ),
    )


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


METHOD = ReleasedMethod(_build, _names, layout="own")
