"""What the necks refuse at construction and in a call, and what they say."""

import math
from typing import Any

import pytest
from mmdet.registry import MODELS

import fpn_necks  # noqa: F401
from tests.neck_cases import CASES, IN_CHANNELS, backbone_maps
from tests.necks.test_all_necks import FIRST_CASES, build

SHARED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (dict(in_channels=8), TypeError, "in_channels must be a list"),
    (dict(in_channels=[8, 0, 1, 1]), ValueError, "in_channels must be at least 1"),
    (dict(in_channels=[8, "x", 1, 1]), TypeError, "in_channels must be an integer"),
    (dict(out_channels=-1), ValueError, "out_channels must be at least 1, got -1"),
    (dict(num_outs=0), ValueError, "num_outs must be at least"),
    (dict(num_outs=2.0), TypeError, "num_outs must be an integer, got 2.0"),
    (dict(start_level=4, end_level=-1), ValueError, r"start_level must lie in"),
    (dict(end_level=7), ValueError, "end_level must be -1 or lie in"),
    (dict(add_extra_convs="on_top"), ValueError, "add_extra_convs must be True"),
    (dict(upsample_cfg=dict(mode="near")), ValueError, "upsample_cfg=.*'near'"),
    (dict(upsample_cfg="nearest"), TypeError, "upsample_cfg must be a dict"),
    (dict(upsample_cfg=dict(size=3)), ValueError, "upsample_cfg=.*'size'"),
    (dict(upsample_cfg=dict(align_corners=True)), ValueError, "align_corners option"),
    (dict(with_cp=1), TypeError, "with_cp must be True or False, got 1"),
    (dict(levels=3), TypeError, "unexpected keyword argument 'levels'"),
]
FACTORS: list[tuple[Any, type[Exception], str]] = [
    ("adaptive", ValueError, "must be a number, .*'attention'.*got 'adaptive'"),
    ([0.5, 0.5], ValueError, "fusion_factor must have 3 entries.*got 2"),
    ([0.1, -0.1, 1], ValueError, "fusion_factor must be finite and at least 0"),
    (math.nan, ValueError, "fusion_factor must be finite and at least 0, got nan"),
    (math.inf, ValueError, "fusion_factor must be finite"),
    (True, TypeError, "fusion_factor must be a number or a list of 3 numbers"),
    (None, TypeError, "fusion_factor must be given: a number, a list .*'statistic'"),
    ([0.1, "x", 0.2], TypeError, "must be a number or a list of 3 numbers"),
    (dict(type="Unknown"), ValueError, "fusion_factor's type must be.*'Unknown'"),
    (dict(type="FPN"), ValueError, "fusion_factor's type must be.*'FPN'"),
    (dict(factor=1.0), ValueError, "fusion_factor's type must be.*None"),
    (
        dict(type="StatisticFusionFactor", count="anchors"),
        ValueError,
        "count must be one of.*got 'anchors'",
    ),
    (
        dict(type="LearnableFusionFactor", init=[1.0]),
        ValueError,
        "init must have 3 entries",
    ),
    (
        dict(type="LearnableFusionFactor", shared="yes"),
        TypeError,
        "shared must be True or False",
    ),
]
OWN: dict[str, list[tuple[dict[str, Any], type[Exception], str]]] = {
    "SAlphaFPN": [
        *((dict(fusion_factor=value), *expected) for value, *expected in FACTORS),
        (dict(power_init=0), ValueError, "power_init must be finite and above 0"),
        (dict(power_init="0.5"), TypeError, "power_init must be a number"),
    ],
    "CFGFPN": [
        (dict(cascade_times=0), ValueError, "cascade_times must be at least 1, got 0"),
        (dict(rank=17), ValueError, r"rank must lie in \[1, 16\], got 17"),
        (dict(noise=-1), ValueError, "noise must be finite and at least 0, got -1"),
        (dict(weight_channels=0), ValueError, "weight_channels must be at least 2"),
        (dict(out_channels=1), ValueError, "hidden_channels must be at least 2"),
    ],
    "AugFPN": [
        (
            dict(num_outs=4, residual_to_extra_level=True),
            ValueError,
            "residual_to_extra_level=True needs an extra level.*above 4.*got 4",
        ),
        (
            dict(residual_to_extra_level=1),
            TypeError,
            "residual_to_extra_level must be True or False, got 1",
        ),
        (dict(pooling="avg"), ValueError, "pooling must be one of"),
        (dict(pooling="gap", fusion="asf"), ValueError, "with pooling='gap'.*'asf'"),
        (dict(fusion_factor=[1.0]), ValueError, "must have 3 entries"),
    ],
    "DRFPN": [
        (dict(top_down="none"), ValueError, "top_down must be one of .*'srb'.*'none'"),
        (dict(bottom_up="srb+crb"), ValueError, "bottom_up must be one of .*'crb'"),
        (dict(context=None), ValueError, "context must be one of .*'ppm'.*got None"),
        (dict(srb="cat"), TypeError, "srb must be a dict or None, got 'cat'"),
        (dict(crb=["BN"]), TypeError, "crb must be a dict or None"),
        (dict(srb=dict(inputs="x")), ValueError, "inputs must be one of"),
        (dict(srb=dict(grid=1)), TypeError, "unexpected keyword argument 'grid'"),
        (dict(srb=dict(path="top-down")), TypeError, "argument 'path'"),
        (dict(crb=dict(guide="x")), ValueError, "guide must be one of"),
        (dict(crb=dict(norm="BN")), TypeError, "unexpected keyword argument 'norm'"),
    ],
    "ASFF": [
        (dict(in_channels=8.0), TypeError, "in_channels must be an integer, got 8.0"),
        (dict(in_channels=0), ValueError, "in_channels must be at least 1, got 0"),
        (dict(in_channels=[8] * 5), ValueError, "in_channels must have 4 entries"),
        (dict(out_channels=[8, 8]), ValueError, "out_channels must have 4 entries"),
        (dict(num_fused=1), ValueError, "num_fused must be at least 2, got 1"),
        (dict(order="down"), ValueError, "order must be one of .'fine_to_coarse', 'c"),
        (dict(weights="paper"), ValueError, "weights must be one of .'compressed', 'd"),
        (dict(fusion="mean"), ValueError, "fusion must be one of .'asff', 'sum', 'con"),
        (dict(compress_channels=0), ValueError, "compress_channels must be at least 1"),
        (dict(lead_channels=8), TypeError, "lead_channels must be a list, got 8"),
        (dict(lead_channels=[8]), ValueError, "lead_channels must have 4 entries"),
        (dict(lead_channels=[0] * 4), ValueError, "lead_channels must be at least 1"),
        (dict(with_cp=None), TypeError, "with_cp must be True or False, got None"),
        (dict(num_outs=5), TypeError, "unexpected keyword argument 'num_outs'"),
    ],
}
ROWS = [("SAlphaFPN", *row) for row in SHARED]
ROWS += [(kind, *row) for kind in FIRST_CASES for row in OWN.get(kind, ())]


@pytest.mark.parametrize(
    ("kind", "changes", "error", "message"),
    ROWS,
    ids=lambda value: str(value) if isinstance(value, dict | str) else "",
)
def test_refusals(
    kind: str, changes: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MODELS.build(FIRST_CASES[kind].config(**changes))


@pytest.mark.parametrize("call", ["forward", "weight_maps"])
def test_maps_that_asff_refuses(call: str) -> None:
    (plain,) = [case for case in CASES if case.name == "asff"]
    widths = [8] * len(IN_CHANNELS)
    maps = backbone_maps((64, 96), channels=widths)
    for order, given in (("fine_to_coarse", maps[::-1]), ("coarse_to_fine", maps)):
        neck = build(plain, in_channels=8, order=order)
        with pytest.raises(ValueError, match=f"order is '{order}', but the maps"):
            getattr(neck, call)(given)
        for few in ([], maps[:3]):
            with pytest.raises(ValueError, match=f"there are {len(few)} maps"):
                getattr(neck, call)(few)
    if call == "weight_maps":
        with pytest.raises(ValueError, match="only fusion='asff' has weights, not 's"):
            build(plain, fusion="sum").weight_maps(backbone_maps((64, 96)))
