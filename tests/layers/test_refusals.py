"""What the building blocks refuse, and what they say."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fpn_necks import layers

SETTINGS = dict(norm_cfg=None, act_cfg=None)


def fusion(**changes: Any) -> layers.LevelFusion:
    arguments = dict(
        in_channels=[4, 6],
        target=1,
        out_channels=7,
        order="fine_to_coarse",
        weights="compressed",
        compress_channels=3,
        fusion="asff",
        settings=SETTINGS,
    )
    return layers.LevelFusion(**arguments | changes)


def resizing(**changes: Any) -> layers.LevelResizing:
    arguments = dict(
        in_channels=[4, 6], target=1, order="fine_to_coarse", settings=SETTINGS
    )
    return layers.LevelResizing(**arguments | changes)


def grouping(**changes: Any) -> layers.CascadeFeatureGrouping:
    arguments = dict(num_levels=3, channels=12, hidden_channels=8)
    return layers.CascadeFeatureGrouping(**arguments | changes)


def augmentation(**changes: Any) -> layers.ResidualFeatureAugmentation:
    arguments = dict(in_channels=5, out_channels=4)
    return layers.ResidualFeatureAugmentation(**arguments | changes)


def level_range(*arguments: Any) -> layers.LevelRange:
    return layers.LevelRange(*arguments)


SRB, CRB = layers.SpatialRefinement, layers.ChannelRefinement
MAP = torch.zeros(1, 4, 3, 3)
# What is called, its arguments, and what the error says.
ROWS: dict[Callable, list[tuple[Any, type[Exception], str]]] = {
    level_range: [
        ((0, 1), ValueError, "number of in_channels must be at least 1"),
        ((4, 5, -1), ValueError, r"start_level must lie in \[0, 3\], got -1"),
        ((4, 5, 4), ValueError, r"start_level must lie in \[0, 3\]"),
        ((4, 5, 1.0), TypeError, "start_level must be an integer, got 1.0"),
        ((4, 5, True), TypeError, "start_level must be an integer, got True"),
        ((4, 5, 2, 1), ValueError, r"end_level must be -1 or .*start_level=2, 3\], go"),
        ((4, 5, 0, 4), ValueError, "end_level must be -1 or lie in.*got 4"),
        ((4, 5, 0, -2), ValueError, "end_level must be -1 or lie in.*got -2"),
        ((4, 3), ValueError, r"num_outs must be at least 4.*\(0 to 3\), got 3"),
        ((4, 3, 0, 1), ValueError, "num_outs must be 2 because end_level=1 is not"),
    ],
    lambda maps: level_range(4, 5).select(maps): [
        ((range(5),), ValueError, "expected 4 feature maps.*got 5"),
    ],
    layers.ExtraLevels: [
        ((1, "on_top"), ValueError, "add_extra_convs must be True, False or"),
        ((1, 1), ValueError, "add_extra_convs must be True, False or"),
        ((1, None), ValueError, "add_extra_convs must be True, False or"),
        ((1, False, "yes"), TypeError, "relu_before_extra_convs must be True or"),
    ],
    layers.OutputConvs(2, 4, 4, [4], {}): [
        (([MAP] * 3,), ValueError, "expected 2 maps, got 3")
    ],
    layers.LateralConvs([4, 8], 6, {}): [(([MAP],), ValueError, "zip")],
    layers.AdaptiveSpatialFusion: [
        ((0, 4), ValueError, "num_maps must be at least 1, got 0"),
        ((2, 0), ValueError, "channels must be at least 1, got 0"),
    ],
    layers.AdaptiveChannelFusion: [
        ((2.0, 4), TypeError, "num_maps must be an integer, got 2.0"),
        ((2, "4"), TypeError, "channels must be an integer, got '4'"),
    ],
    layers.AdaptiveSpatialFusion(3, 4): [
        (([MAP] * 2,), ValueError, "expected 3 maps, got 2")
    ],
    layers.AdaptiveChannelFusion(3, 4): [
        (([MAP] * 4,), ValueError, "expected 3 maps, got 4")
    ],
    augmentation: [
        (dict(pooling="max"), ValueError, "pooling must be one of .*'gmp'.*got 'max'"),
        (dict(fusion="cat"), ValueError, "fusion must be one of .*'asf'.*got 'cat'"),
        (dict(pooling="gap", fusion="asf"), ValueError, "fusion must be 'sum' or None"),
        (dict(pooling="gmp", fusion="psp"), ValueError, "with pooling='gmp'.*'psp'"),
        (dict(ratios=()), ValueError, r"ratios must be .*in \(0, 1\], got \(\)"),
        (dict(ratios=[0.1, 0.0]), ValueError, "ratios must be finite and above 0"),
        (dict(ratios=[1.5]), ValueError, "ratios must be at least one number"),
        (dict(ratios=0.1), TypeError, "ratios must be a list, got 0.1"),
        (dict(ratios=["a"]), TypeError, "ratios must be a number, got 'a'"),
        (dict(in_channels=0), ValueError, "in_channels must be at least 1"),
    ],
    layers.PyramidPooling: [
        ((0, 8), ValueError, "in_channels must be at least 1, got 0"),
        ((8, "8"), TypeError, "out_channels must be an integer, got '8'"),
        ((8, 8, (1, 0)), ValueError, "cells must be at least 1, got 0"),
    ],
    layers.NonLocalContext: [
        ((4, 8), ValueError, "in_channels must be at least 8, got 4"),
        ((8, "8"), TypeError, "out_channels must be an integer, got '8'"),
    ],
    layers.DenseASPPContext: [
        ((0, 8), ValueError, "in_channels must be at least 1, got 0"),
        ((8, "8"), TypeError, "out_channels must be an integer, got '8'"),
        ((8, 8, (-3,)), ValueError, "dilations must be at least 1, got -3"),
    ],
    SRB: [
        ((1,), ValueError, "channels must be at least 2, got 1"),
        (("8",), TypeError, "channels must be an integer, got '8'"),
        ((8, "up"), ValueError, "path must be one of .*'top-down'.*got 'up'"),
        ((8, PATH := "top-down", "both"), ValueError, "inputs must be one of .*'cat'"),
        ((8, PATH, "cat", 1), TypeError, "sampling_offset must be True or False"),
        ((8, PATH, "cat", True, "no"), TypeError, "sampling_weight must be True or"),
        ((8, PATH, "cat", False, False), ValueError, "sampling_offset or sampling_wei"),
    ],
    lambda **changes: SRB(8, **changes): [
        (dict(offset_scale="area"), ValueError, "offset_scale must be one of"),
        (dict(base_grid="none"), ValueError, "base_grid must be one of .*'identity'"),
        (dict(zero_init=0), TypeError, "zero_init must be True or False, got 0"),
    ],
    CRB: [
        ((0,), ValueError, "channels must be at least 1, got 0"),
        ((8, "sideways"), ValueError, "path must be one of .*got 'sideways'"),
        ((8, "top-down", "both"), ValueError, "guide must be one of .*'low'.*'both'"),
        ((8, "top-down", "low", "BN"), TypeError, "norm_cfg must be a dict or None, g"),
        (
            (8, "bottom-up", "low", dict(type="GN", num_groups=8)),
            ValueError,
            "num_groups of crb's norm_cfg must be below the number of channels, 8",
        ),
    ],
    grouping: [
        (dict(cascade_times=0), ValueError, "cascade_times must be at least 1, got 0"),
        (dict(cascade_times=1.5), TypeError, "cascade_times must be an integer"),
        (dict(rank=0), ValueError, r"rank must lie in \[1, 12\], got 0"),
        (dict(rank=13), ValueError, r"rank must lie in \[1, 12\], got 13"),
        (dict(rank=2.0), TypeError, "rank must be an integer, got 2.0"),
        (dict(noise=-0.1), ValueError, "noise must be finite and at least 0, got -0.1"),
        (dict(noise="1"), TypeError, "noise must be a number, got '1'"),
        (dict(noise=0, rank=2), ValueError, "noise must be finite and above 0, got 0"),
        (dict(weight_channels=1), ValueError, "weight_channels must be at least 2"),
        (dict(num_levels=0), ValueError, "num_levels must be at least 1, got 0"),
        (dict(channels=13), ValueError, "channels must be a multiple of num_levels=3"),
        (dict(hidden_channels=1), ValueError, "hidden_channels must be at least 2"),
    ],
    fusion: [
        (dict(weights="softmax"), ValueError, "weights must be one of .'compressed', "),
        (dict(fusion="max"), ValueError, "fusion must be one of .'asff', 'sum', 'conc"),
        (dict(order="up"), ValueError, "order must be one of"),
    ],
    lambda kind: fusion(fusion=kind).weight_maps([MAP, MAP]): [
        (("sum",), ValueError, "only fusion='asff' has weights.*'sum'"),
        (("concat",), ValueError, "only fusion='asff' has weights.*'concat'"),
    ],
    resizing: [
        (dict(order="finest"), ValueError, "order must be one of .'fine_to_coarse', "),
        (dict(target=2), ValueError, r"target must lie in \[0, 1\], got 2"),
        (dict(target=-1), ValueError, r"target must lie in \[0, 1\], got -1"),
    ],
    layers.StatisticFusionFactor(3, 8).set: [
        (([1.0, 1.0],), ValueError, "3 entries"),
        (([1.0, math.nan, 1.0],), ValueError, "finite"),
    ],
}


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [(function, *row) for function, rows in ROWS.items() for row in rows],
    ids=lambda value: str(value) if isinstance(value, tuple | dict) else "",
)
def test_refusals(
    function: Callable, arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        if isinstance(arguments, dict):
            function(**arguments)
        else:
            function(*arguments)
