"""What holds for every released class; test_parity.py compares numbers."""

import pytest
import torch
from torch import nn

from fpn_necks import released
from fpn_necks.released.detectors import convert_detector
from tests.golden import golden

FILES = {
    "asff": "asff_level0_train",
    "drfpn": "drfpn_retinanet_train",
    "highfpn": "augfpn_highfpn_bn_train",
    "highfpn-retinanet": "augfpn_highfpn_fcos",
    "soft-roi": "augfpn_softroi_legacy_sr2",
}
TWO_LEVELS = dict(in_channels=[4, 8], out_channels=4, num_outs=2)
RELEASED_DRFPN = dict(in_channels=[4, 8, 16, 32], out_channels=8, num_outs=5)
ROI_LAYER = dict(type="RoIAlign", out_size=7, sample_num=2)
WORKING = {
    "asff": dict(level=1),
    "drfpn": RELEASED_DRFPN,
    "highfpn": TWO_LEVELS,
    "highfpn-retinanet": TWO_LEVELS,
    "soft-roi": dict(roi_layer=ROI_LAYER, out_channels=4, featmap_strides=[4, 8]),
}


def every_method(function):
    return pytest.mark.parametrize("method", FILES)(function)


def test_every_method_is_here() -> None:
    assert set(FILES) == set(WORKING) == set(released.METHODS)


@every_method
def test_every_entry_is_converted_once(method: str) -> None:
    case = golden(FILES[method])
    converted = released.convert(method, case.state)
    assert len(converted) == len(case.state)
    assert {id(x) for x in converted.values()} == {id(x) for x in case.state.values()}
    module = released.build(method, **case.config)
    assert set(converted) == set(module.state_dict())
    alone = convert_detector(method, case.state).state_dict
    assert alone.keys() == converted.keys()
    assert all(alone[name] is tensor for name, tensor in converted.items())


@every_method
def test_missing_and_unknown_entries_are_all_named(method: str) -> None:
    state = dict(golden(FILES[method]).state)
    # A plain conv of each class has a bias.
    bias = next(name for name in reversed(state) if name.endswith("bias"))
    first = next(name for name in state if name.endswith("weight"))
    state.pop(bias)
    state.pop(first)
    state["surplus.weight"] = state["another.bias"] = torch.zeros(1)
    with pytest.raises(ValueError) as error:
        released.convert(method, state)
    missing, unknown = str(error.value).split("unknown")
    assert repr(bias) in missing and repr(first) in missing
    assert "['another.bias', 'surplus.weight']" in unknown
    with pytest.raises(ValueError, match=f"released {method}: missing .'"):
        released.convert(method, {})


@every_method
def test_batches_need_not_be_counted(method: str) -> None:
    case = golden(FILES[method])
    state = {k: v for k, v in case.state.items() if "num_batches_tracked" not in k}
    module = released.build(method, **case.config)
    missing, unexpected = module.load_state_dict(
        released.convert(method, state), strict=False
    )
    assert unexpected == []
    assert all(name.endswith("num_batches_tracked") for name in missing)


@pytest.mark.parametrize(
    ("method", "changes", "error", "message"),
    [
        *(
            (method, dict(fusion_kind=1), TypeError, "keyword argument 'fusion_kind'")
            for method in FILES
        ),
        ("pafpn", {}, ValueError, r"one of \['asff', .*, got 'pafpn'"),
        ("asff", dict(level=3), ValueError, "level must be 0, 1 or 2, got 3"),
        ("highfpn", dict(end_level=1), ValueError, "end_level must be -1 or 2"),
        ("highfpn", dict(activation="tanh"), ValueError, "activation must be None or"),
        ("highfpn-retinanet", dict(end_level=1), ValueError, "end_level must be -1"),
        ("highfpn-retinanet", dict(activation="a"), ValueError, "must be None or"),
        ("drfpn", dict(end_level=2), ValueError, "end_level must be -1 or 4.*got 2"),
        ("drfpn", dict(add_extra_convs="on_input"), TypeError, "must be True or False"),
        (
            "soft-roi",
            dict(roi_layer=ROI_LAYER | dict(type="RoIPool")),
            ValueError,
            "must have type='RoIAlign', got 'RoIPool'",
        ),
        (
            "soft-roi",
            dict(roi_layer=ROI_LAYER | dict(aligned=True)),
            TypeError,
            "unexpected keyword argument 'aligned'",
        ),
    ],
)
def test_wrong_arguments(method: str, changes: dict, error, message: str) -> None:
    with pytest.raises(error, match=message):
        released.build(method, **WORKING.get(method, {}) | changes)


def test_other_released_arguments() -> None:
    def build(method: str, **changes) -> nn.Module:
        return released.build(method, **WORKING[method] | changes)

    neck = build("highfpn", pool_ratios=[0.5], end_level=2, activation="relu")
    assert neck.residual_features.ratios == (0.5,)
    assert neck.residual_features.fusion.num_maps == 1
    assert isinstance(neck.lateral_convs[0].activate, nn.ReLU)
    pooled = build("highfpn-retinanet", num_outs=3, group=4)
    assert not pooled.residual_to_extra_level and len(pooled.fpn_convs) == 2
    no_extra = build("highfpn-retinanet", add_extra_convs=True)
    assert not no_extra.residual_to_extra_level
    extra = build("highfpn", num_outs=3, add_extra_convs=True)
    assert extra.extra_levels.source == "on_input"
    assert not extra.residual_to_extra_level
    assert build("drfpn", end_level=4).levels.num_used == 4
    assert build("soft-roi", finest_scale=112).num_inputs == 2
