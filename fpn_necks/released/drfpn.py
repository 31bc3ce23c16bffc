"""The released neck of DRFPN."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fpn_necks.layers.arguments import check_bool
from fpn_necks.necks import DRFPN

from .method import ReleasedMethod, check_end_level, conv, conv_module, count

NUM_POOLS = 4


def _build(
    in_channels: Sequence[int],
    out_channels: int,
    num_outs: int,
    start_level: int = 0,
    end_level: int = -1,
    add_extra_convs: bool = False,
    extra_convs_on_inputs: bool = True,
    relu_before_extra_convs: bool = False,
    no_norm_on_lateral: bool = False,
    conv_cfg: Mapping[str, Any] | None = None,
    norm_cfg: Mapping[str, Any] | None = None,
    act_cfg: Mapping[str, Any] | None = None,
) -> DRFPN:
    """Return ``DRFPN`` from the released class's arguments."""
    check_end_level(end_level, len(in_channels))
    check_bool("add_extra_convs", add_extra_convs)
    source = "on_input" if extra_convs_on_inputs else "on_output"
    return DRFPN(
        in_channels,
        out_channels,
        num_outs,
        start_level=start_level,
        add_extra_convs=source if add_extra_convs else False,
        relu_before_extra_convs=relu_before_extra_convs,
        no_norm_on_lateral=no_norm_on_lateral,
        conv_cfg=conv_cfg,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        srb=dict(zero_init=False),
    )


def _names(released: Collection[str]) -> dict[str, str]:
    connections = count(released, "lateral_convs")  # the last level has PPM_head
    outputs = max(count(released, "fpn_convs"), connections + 1)

    def block(theirs: str, ours: str) -> dict[str, str]:
        return conv_module(theirs, ours, norm=f"{theirs}.bn.weight" in released)

    names: dict[str, str] = {}
    for i in range(outputs):
        names |= block(f"fpn_convs.{i}", f"fpn_convs.{i}")
    for i in range(connections):
        names |= block(f"lateral_convs.{i}", f"lateral_convs.{i}")
        names |= block(f"pafpn_convs.{i}", f"bottom_up_convs.{i}")
        bottom_up = f"bottom_up_connections.{i}"
        names |= block(f"downsample_convs.{i}", f"{bottom_up}.downsample")
        names |= _crb_names(f"crb_list.{i}", f"{bottom_up}.channel_refinement")
        top_down = f"top_down_connections.{i}"
        names |= _srb_names(f"srb_list.{i}", f"{top_down}.spatial_refinement")
    return names | _ppm_names("PPM_head", f"lateral_convs.{connections}")


def _srb_names(theirs: str, ours: str) -> dict[str, str]:
    return {
        **conv(f"{theirs}.down_h", f"{ours}.reduce_source", bias=False),
        **conv(f"{theirs}.down_l", f"{ours}.reduce_target", bias=False),
        **conv(f"{theirs}.deconv", f"{ours}.resample"),
        **conv(f"{theirs}.offset_make", f"{ours}.offset", bias=False),
        **conv(f"{theirs}.spatial_weight.0", f"{ours}.weight_hidden", bias=False),
        **conv(f"{theirs}.spatial_weight.2", f"{ours}.weight"),
    }


def _crb_names(theirs: str, ours: str) -> dict[str, str]:
    return {
        **conv_module(f"{theirs}.supervise_conv1x1", f"{ours}.weight_conv", norm=True),
        **conv_module(f"{theirs}.input_conv3x3", f"{ours}.feature_conv", norm=True),
    }


def _ppm_names(theirs: str, ours: str) -> dict[str, str]:
    names = conv(f"{theirs}.reduceDim_conv", f"{ours}.reduce")
    names |= conv(f"{theirs}.bottleneck", f"{ours}.bottleneck")
    for i in range(NUM_POOLS):
        names |= conv(f"{theirs}.stages.{i}.1", f"{ours}.stages.{i}", bias=False)
    return names


METHOD = ReleasedMethod(_build, _names, layout="mmdet 2")
