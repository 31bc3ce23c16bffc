"""What the building blocks refuse that the necks of `tests/necks` do not pass on."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fpn_necks import layers


def grouping(**changes: Any) -> layers.CascadeFeatureGrouping:
    arguments = dict(num_levels=3, channels=12, hidden_channels=8)
    return layers.CascadeFeatureGrouping(**arguments | changes)


def augmentation(**changes: Any) -> layers.ResidualFeatureAugmentation:
    return layers.ResidualFeatureAugmentation(5, 4, **changes)


SRB, CRB = layers.SpatialRefinement, layers.ChannelRefinement
MAP = torch.zeros(1, 4, 3, 3)
# What is called, its arguments, and what the error says.
ROWS: dict[Callable, list[tuple[Any, type[Exception], str]]] = {
    layers.LevelRange: [
        ((0, 1), ValueError, "number of in_channels must be at least 1"),
        ((4, 5, -1), ValueError, r"start_level must lie in \[0, 3\], got -1"),
        ((4, 5, True), TypeError, "start_level must be an integer, got True"),
        ((4, 5, 2, 1), ValueError, r"end_level must be -1 or .*start_level=2, 3\], go"),
        ((4, 5, 0, -2), ValueError, "end_level must be -1 or lie in.*got -2"),
        ((4, 3), ValueError, r"num_outs must be at least 4.*\(0 to 3\), got 3"),
        ((4, 3, 0, 1), ValueError, "num_outs must be 2, got 3: .* end_level is 1"),
    ],
    lambda maps: layers.LevelRange(4, 5).select(maps): [
        ((range(5),), ValueError, "expected 4 feature maps.*got 5"),
    ],
    layers.ExtraLevels: [
        ((1, 1), ValueError, "add_extra_convs must be True, False or"),
        ((1, False, "yes"), TypeError, "relu_before_extra_convs must be True or"),
    ],
    layers.OutputConvs(2, 4, 4, [4], {}): [(([MAP] * 3,), ValueError, "zip")],
    layers.LateralConvs([4, 8], 6, {}): [(([MAP],), ValueError, "zip")],
    layers.AdaptiveSpatialFusion(3, 4): [(([MAP] * 2,), ValueError, "zip")],
    augmentation: [
        (dict(fusion="cat"), ValueError, "fusion must be one of .*'asf'.*got 'cat'"),
        (dict(ratios=()), ValueError, "ratios must hold at least one number"),
        (dict(ratios=[0.1, 0.0]), ValueError, "ratios must be finite and above 0"),
        (dict(ratios=[1.5]), ValueError, "ratios must be .*at most 1, got 1.5"),
        (dict(ratios=0.1), TypeError, "ratios must be a list, got 0.1"),
        (dict(ratios=["a"]), TypeError, "ratios must be a number, got 'a'"),
    ],
    layers.NonLocalContext: [
        ((4, 8), ValueError, "in_channels must be at least 8, got 4"),
    ],
    SRB: [
        ((1,), ValueError, "channels must be at least 2, got 1"),
        (("8",), TypeError, "channels must be an integer, got '8'"),
        ((8, "up"), ValueError, "path must be one of .*'top-down'.*got 'up'"),
        (
            (8, PATH := "top-down", "cat", 1),
            TypeError,
            "sampling_offset must be True or False",
        ),
        ((8, PATH, "cat", True, "no"), TypeError, "sampling_weight must be True or"),
        ((8, PATH, "cat", False, False), ValueError, "sampling_offset or sampling_wei"),
    ],
    lambda **changes: SRB(8, **changes): [
        (dict(offset_scale="area"), ValueError, "offset_scale must be one of"),
        (dict(base_grid="none"), ValueError, "base_grid must be one of .*'identity'"),
        (dict(zero_init=0), TypeError, "zero_init must be True or False, got 0"),
    ],
    CRB: [
        ((8, "sideways"), ValueError, "path must be one of .*got 'sideways'"),
        ((8, "top-down", "low", "BN"), TypeError, "norm_cfg must be a dict or None, g"),
        (
            (8, "bottom-up", "low", dict(type="GN", num_groups=8)),
            ValueError,
            "num_groups of crb's norm_cfg must be below the number of channels, 8",
        ),
    ],
    grouping: [
        (dict(noise=0, rank=2), ValueError, "noise must be finite and above 0, got 0"),
        (dict(channels=13), ValueError, "channels must be a multiple of num_levels=3"),
    ],
    lambda target: layers.LevelResizing([4, 6], target, "fine_to_coarse", {}): [
        ((-1,), ValueError, r"target must lie in \[0, 1\], got -1"),
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
