import pytest
import torch
from torch import Tensor, nn

from fpn_necks import released
from tests.golden import Golden, every_file, golden

FILES = {
    "augfpn_highfpn_frcnn": "highfpn",
    "augfpn_highfpn_bn_train": "highfpn",
    "augfpn_highfpn_bn_eval": "highfpn",
    "augfpn_highfpn_retinanet": "highfpn-retinanet",
    "augfpn_highfpn_fcos": "highfpn-retinanet",
}


def load(case: Golden) -> nn.Module:
    method = FILES[case.name]
    neck = released.build(method, **case.config)
    neck.load_state_dict(released.convert(method, case.state))
    return neck.train(case.name.endswith("_train"))


def forward_with_raw_laterals(neck: nn.Module, maps: tuple[Tensor, ...]):
    """Return everything the released classes return, from one forward pass."""
    seen: list[Tensor] = []
    hook = neck.lateral_convs.register_forward_hook(lambda *call: seen.extend(call[2]))
    outputs = {f"outs.{i}": x for i, x in enumerate(neck(maps))}
    hook.remove()
    return outputs | {f"raw_laterals.{i}": x for i, x in enumerate(seen)}


@every_file(*FILES)
def test_parity(name: str) -> None:
    case = golden(name)
    neck = load(case)
    maps = tuple(case.inputs[str(i)] for i in range(len(case.inputs)))
    outputs = forward_with_raw_laterals(neck, maps)
    assert set(outputs) == set(case.outputs)
    case.check_outputs(outputs)
    case.backward(outputs)
    names = released.convert(FILES[name], {k: k for k in case.state})
    parameters = dict(neck.named_parameters())
    found = {theirs: parameters[ours].grad for theirs, ours in flipped(names).items()
             if ours in parameters}  # fmt: skip
    case.check_gradients(found | {f"in/{k}": x.grad for k, x in case.inputs.items()})
    for theirs, expected in case.after.items():
        ours = flipped(names)[theirs]
        torch.testing.assert_close(neck.state_dict()[ours], expected)


def flipped(names: dict[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in names.items()}


def test_raw_laterals_are_the_documented_expression() -> None:
    case = golden("augfpn_highfpn_retinanet")
    neck = load(case)
    maps = tuple(case.inputs[str(i)] for i in range(4))
    laterals = neck.lateral_convs(neck.levels.select(maps))
    case.check_outputs({f"raw_laterals.{i}": x for i, x in enumerate(laterals)})


def test_convert_wants_the_whole_state() -> None:
    state = golden("augfpn_highfpn_bn_train").state
    for missing in ("high_lateral_conv_attention.2.bias", "fpn_convs.1.bn.weight"):
        with pytest.raises(ValueError, match=f"missing .'{missing}'"):
            released.convert(
                "highfpn", {k: v for k, v in state.items() if k != missing}
            )
    with pytest.raises(ValueError, match=r"unknown .'fpn_convs.1.bias'"):
        released.convert("highfpn", state | {"fpn_convs.1.bias": torch.zeros(3)})


def test_other_released_arguments() -> None:
    common = dict(in_channels=[4, 8], out_channels=4, num_outs=2)
    build = released.build
    neck = build("highfpn", **common, pool_ratios=[0.5], end_level=2, activation="relu")
    assert neck.residual_features.ratios == (0.5,)
    assert neck.residual_features.fusion.num_maps == 1
    assert isinstance(neck.lateral_convs[0].activate, nn.ReLU)
    pooled = build("highfpn-retinanet", **(common | dict(num_outs=3)), group=4)
    assert not pooled.residual_to_extra_level and len(pooled.fpn_convs) == 2
    no_extra = build("highfpn-retinanet", **common, add_extra_convs=True)
    assert not no_extra.residual_to_extra_level
    extra = build("highfpn", **(common | dict(num_outs=3)), add_extra_convs=True)
    assert extra.extra_levels.source == "on_input"
    assert not extra.residual_to_extra_level


@pytest.mark.parametrize("method", ["highfpn", "highfpn-retinanet"])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(end_level=1), ValueError, "end_level must be -1 or 2"),
        (dict(activation="tanh"), ValueError, "activation must be None or 'relu'"),
        (dict(pooling="gap"), TypeError, "unexpected keyword argument 'pooling'"),
    ],
)
def test_wrong_arguments(method: str, changes: dict, error, message: str) -> None:
    arguments = dict(in_channels=[4, 8], out_channels=4, num_outs=2) | changes
    with pytest.raises(error, match=message):
        released.build(method, **arguments)
