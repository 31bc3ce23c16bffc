"""What holds for every released class; parity is tested per method."""

import pytest
import torch

from fpn_necks import released
from tests.golden import golden

FILES = {
    "asff": "asff_level0_train",
    "drfpn": "drfpn_retinanet_train",
    "highfpn": "augfpn_highfpn_bn_train",
    "highfpn-retinanet": "augfpn_highfpn_fcos",
    "soft-roi": "augfpn_softroi_legacy_sr2",
}


def every_method(function):
    return pytest.mark.parametrize("method", FILES)(function)


def test_every_method_is_here() -> None:
    assert set(FILES) == set(released.METHODS)


def test_unknown_method() -> None:
    with pytest.raises(ValueError, match=r"one of \['asff', .*, got 'pafpn'"):
        released.build("pafpn")
    with pytest.raises(ValueError, match=r"one of \['asff', .*, got 'pafpn'"):
        released.convert("pafpn", {})


@every_method
def test_build_takes_the_released_arguments_only(method: str) -> None:
    config = golden(FILES[method]).config
    assert isinstance(released.build(method, **config), torch.nn.Module)
    with pytest.raises(TypeError, match="unexpected keyword argument 'fusion_kind'"):
        released.build(method, **config, fusion_kind="asf")


@every_method
def test_every_entry_is_converted_once(method: str) -> None:
    case = golden(FILES[method])
    converted = released.convert(method, case.state)
    assert len(converted) == len(case.state)
    assert {id(x) for x in converted.values()} == {id(x) for x in case.state.values()}
    module = released.build(method, **case.config)
    assert set(converted) == set(module.state_dict())


@every_method
def test_missing_and_unknown_entries_are_all_named(method: str) -> None:
    state = dict(golden(FILES[method]).state)
    # A plain conv of each class has a bias.
    bias = next(name for name in reversed(state) if name.endswith("bias"))
    state.pop(bias)
    state["surplus.weight"] = state["another.bias"] = torch.zeros(1)
    with pytest.raises(ValueError) as error:
        released.convert(method, state)
    assert f"missing ['{bias}']" in str(error.value)
    assert "unknown ['another.bias', 'surplus.weight']" in str(error.value)


@every_method
def test_nothing_is_no_state_dict(method: str) -> None:
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
