"""The released DRFPN's numbers, from its arguments and its state dict."""

import pytest
import torch
from torch import Tensor

from fpn_necks import released
from tests.golden import Golden, every_file, golden

ARGUMENTS = dict(in_channels=[4, 8, 16, 32], out_channels=8, num_outs=5)


def converted(case: Golden):
    neck = released.build("drfpn", **case.config)
    neck.load_state_dict(released.convert("drfpn", case.state))
    return neck.train(case.name.endswith("_train"))


def run(case: Golden, neck) -> dict[str, Tensor]:
    outputs = neck(tuple(case.inputs.values()))
    assert isinstance(outputs, tuple)
    return {str(i): output for i, output in enumerate(outputs)}


@every_file(
    *(
        f"drfpn_{detector}_{mode}"
        for detector in ("frcnn", "retinanet", "fcos")
        for mode in ("train", "eval")
    )
)
def test_parity(name: str) -> None:
    case = golden(name)
    neck = converted(case)
    outputs = run(case, neck)
    assert set(outputs) == set(case.outputs)
    case.check_outputs(outputs)

    case.backward(outputs)
    names = released.METHODS["drfpn"].names(case.state.keys())
    parameters = dict(neck.named_parameters())
    case.check_gradients(
        {
            **{f"in/{key}": x.grad for key, x in case.inputs.items()},
            **{
                theirs: parameters[ours].grad
                for theirs, ours in names.items()
                if ours in parameters
            },
        }
    )
    buffers = dict(neck.named_buffers())
    assert bool(case.after) == name.endswith("_train")
    for theirs, expected in case.after.items():
        torch.testing.assert_close(
            buffers[names[theirs]], expected, atol=2e-5, rtol=1e-5
        )


@pytest.mark.parametrize(
    "changes",
    [
        dict(norm_cfg=dict(type="BN")),
        dict(norm_cfg=dict(type="BN"), no_norm_on_lateral=True),
        dict(start_level=1, add_extra_convs=True, norm_cfg=dict(type="BN")),
        dict(start_level=3, num_outs=2),
    ],
    ids=str,
)
def test_every_architecture_converts(changes: dict) -> None:
    """Our own state dict, renamed to the released names and back again."""
    neck = released.build("drfpn", **{**ARGUMENTS, **changes})
    state = neck.state_dict()
    theirs = {released_name(ours): tensor for ours, tensor in state.items()}
    back = released.convert("drfpn", theirs)
    assert set(back) == set(state)
    assert all(back[name] is state[name] for name in state)


def released_name(ours: str) -> str:
    """Undo the conversion by text alone, independently of its table."""
    for text, replacement in {
        "bottom_up_convs": "pafpn_convs",
        "weight_conv": "supervise_conv1x1",
        "feature_conv": "input_conv3x3",
        "reduce_source": "down_h",
        "reduce_target": "down_l",
        "resample": "deconv",
        "offset": "offset_make",
        "weight_hidden": "spatial_weight.0",
        "spatial_refinement.weight": "spatial_weight.2",
    }.items():
        ours = ours.replace(f"{text}.", f"{replacement}.")
    parts = ours.split(".")
    if parts[0] == "lateral_convs" and parts[2] in ("reduce", "stages", "bottleneck"):
        parts = ["PPM_head", *parts[2:]]
        parts[1] = parts[1].replace("reduce", "reduceDim_conv")
        if parts[1] == "stages":
            parts.insert(3, "1")
    if parts[0] == "top_down_connections":
        parts = ["srb_list", parts[1], *parts[2:]]
    if parts[0] == "bottom_up_connections":
        folder = "downsample_convs" if parts[2] == "downsample" else "crb_list"
        parts = [folder, parts[1], *parts[3:]]
    return ".".join(part for part in parts if part != "spatial_refinement")


def test_missing_and_unknown_names_are_named() -> None:
    state = golden("drfpn_retinanet_train").state
    state.pop("srb_list.1.deconv.bias")
    for name in [name for name in state if name.startswith("crb_list")]:
        state.pop(name)
    state["srb_list.0.deform.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match="released drfpn") as error:
        released.convert("drfpn", state)
    missing, unknown = str(error.value).split("unknown")
    assert "'srb_list.1.deconv.bias'" in missing
    assert "'crb_list.1.input_conv3x3.bn.running_var'" in missing
    assert "srb_list.0.deform.weight" in unknown
    assert "srb_list.0.deform.weight" not in missing


def test_another_necks_state_dict_is_refused() -> None:
    names = ("lateral_convs.0.conv.weight", "fpn_convs.0.conv.weight")
    with pytest.raises(ValueError, match="missing.*PPM_head.bottleneck.weight"):
        released.convert("drfpn", {name: torch.zeros(1) for name in names})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(end_level=2), ValueError, "end_level must be -1 or 4.*got 2"),
        (dict(add_extra_convs="on_input"), TypeError, "add_extra_convs must be True"),
        (dict(context="ppm"), TypeError, "unexpected keyword argument 'context'"),
        (
            dict(upsample_cfg={}),
            TypeError,
            "unexpected keyword argument 'upsample_cfg'",
        ),
    ],
    ids=str,
)
def test_only_the_released_arguments(changes: dict, error, message: str) -> None:
    with pytest.raises(error, match=message):
        released.build("drfpn", **{**ARGUMENTS, **changes})


def test_end_level_may_be_the_number_of_levels() -> None:
    neck = released.build("drfpn", **ARGUMENTS, end_level=4)
    assert neck.levels.num_used == 4
