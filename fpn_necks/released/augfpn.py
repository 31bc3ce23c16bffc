"""The released necks of AugFPN: HighFPN (two-stage) and HighFPNRetinanet (one-stage).

The raw laterals, which the released classes can return as well, are
``neck.lateral_convs(neck.levels.select(maps))``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fpn_necks.necks import AugFPN

from .method import ReleasedMethod, check_end_level, conv, conv_module, count


def build_highfpn(
    in_channels: Sequence[int],
    out_channels: int,
    num_outs: int,
    pool_ratios: Sequence[float] = (0.1, 0.2, 0.3),
    start_level: int = 0,
    end_level: int = -1,
    add_extra_convs: bool = False,
    normalize: Mapping[str, Any] | None = None,
    activation: str | None = None,
) -> AugFPN:
    """Return ``AugFPN`` from the arguments of HighFPN."""
    check_end_level(end_level, len(in_channels))
    return AugFPN(
        in_channels,
        out_channels,
        num_outs,
        start_level=start_level,
        add_extra_convs=bool(add_extra_convs),
        norm_cfg=normalize,
        act_cfg=_translate_activation(activation),
        ratios=pool_ratios,
        fusion="asf",
    )


def build_highfpn_retinanet(
    in_channels: Sequence[int],
    out_channels: int,
    num_outs: int,
    group: int = 1,
    start_level: int = 0,
    end_level: int = -1,
    add_extra_convs: bool = False,
    extra_convs_on_inputs: bool = True,
    relu_before_extra_convs: bool = False,
    train_with_auxiliary: bool = False,
    normalize: Mapping[str, Any] | None = None,
    activation: str | None = None,
) -> AugFPN:
    """Return ``AugFPN`` from the arguments of HighFPNRetinanet.

    ``group`` does nothing there either; ``train_with_auxiliary`` decides whether the
    raw laterals are returned as well, which ours never does. The residual reaches the
    first extra level only if that is a conv.
    """
    check_end_level(end_level, len(in_channels))
    source = "on_input" if extra_convs_on_inputs else "on_output"
    has_extra_level = num_outs > len(in_channels) - start_level
    return AugFPN(
        in_channels,
        out_channels,
        num_outs,
        start_level=start_level,
        add_extra_convs=source if add_extra_convs else False,
        relu_before_extra_convs=relu_before_extra_convs,
        norm_cfg=normalize,
        act_cfg=_translate_activation(activation),
        fusion="asf",
        residual_to_extra_level=bool(add_extra_convs) and has_extra_level,
    )


def _translate_activation(activation: str | None) -> dict[str, str] | None:
    if activation not in (None, "relu"):
        raise ValueError(f"activation must be None or 'relu', got {activation!r}")
    return dict(type="ReLU") if activation else None


def names_of(released: Collection[str]) -> dict[str, str]:
    """Return the expected names and ours, for both classes."""
    norm = "lateral_convs.0.bn.weight" in released
    names: dict[str, str] = {}
    for part in ("lateral_convs", "fpn_convs"):
        for i in range(count(released, part)):
            names |= conv_module(f"{part}.{i}", f"{part}.{i}", norm)
    for i in range(count(released, "high_lateral_conv")):
        names |= conv(f"high_lateral_conv.{i}", f"residual_features.convs.{i}")
    attention, fusion = "high_lateral_conv_attention", "residual_features.fusion"
    names |= conv(f"{attention}.0", f"{fusion}.reduce")
    names |= conv(f"{attention}.2", f"{fusion}.weigh")
    return names


HIGHFPN = ReleasedMethod(build_highfpn, names_of, layout="mmdet 1")
HIGHFPN_RETINANET = ReleasedMethod(build_highfpn_retinanet, names_of, layout="mmdet 1")
