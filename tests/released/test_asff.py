"""Parity with the released ASFF class."""

import pytest
import torch

from fpn_necks import released
from fpn_necks.layers import CompressedLevelScores, softmax_over_levels, weighted_sum
from tests.golden import OUTPUT_TOLERANCE, Golden, every_file, golden

LEVELS = [f"asff_level{i}_{mode}" for i in range(3) for mode in ("train", "eval")]
BLOCK = dict(
    norm_cfg=dict(type="BN"), act_cfg=dict(type="LeakyReLU", negative_slope=0.1)
)


def load(case: Golden, **changes) -> torch.nn.Module:
    module = released.build("asff", **{**case.config, **changes})
    module.load_state_dict(released.convert("asff", case.state))
    return module.train(case.name.endswith("_train"))


@every_file(*LEVELS)
def test_one_level(name: str) -> None:
    case = golden(name)
    module = load(case, vis=True)
    middle = {}
    module.resizing.register_forward_hook(
        lambda _, __, resized: middle.update(
            {f"level_{i}_resized": x for i, x in enumerate(resized)}
        )
    )
    module.expand.register_forward_pre_hook(
        lambda _, inputs: middle.update(fused_out_reduced=inputs[0])
    )
    y, weights, picture = module(*(case.inputs[f"level_{i}"] for i in range(3)))
    outputs = {"y": y, "levels_weight": weights}
    case.check_outputs(outputs)
    assert set(middle) == set(case.middle)
    for key, expected in case.middle.items():
        torch.testing.assert_close(middle[key], expected, **OUTPUT_TOLERANCE)
    expected = case.middle["fused_out_reduced"].sum(dim=1)
    torch.testing.assert_close(picture, expected, atol=2e-4, rtol=1e-5)

    case.backward(outputs)
    # Any released state dict converts, so one of gradients does as well.
    ours = {n: p.grad for n, p in module.named_parameters()}
    names = released.convert("asff", {k: k for k in case.state})
    found = {theirs: ours.get(name) for name, theirs in names.items()}
    found |= {f"in/{k}": x.grad for k, x in case.inputs.items()}
    case.check_gradients(found)
    check_buffers(case, module, {theirs: name for name, theirs in names.items()})


def check_buffers(case: Golden, module: torch.nn.Module, names: dict) -> None:
    buffers = dict(module.named_buffers())
    assert bool(case.after) == case.name.endswith("_train")
    for key, expected in case.after.items():
        torch.testing.assert_close(buffers[names[key]], expected, **OUTPUT_TOLERANCE)


@every_file("asff_fusion_train", "asff_fusion_eval")
def test_fusion_of_maps_of_one_size(name: str) -> None:
    case = golden(name)
    scores = CompressedLevelScores(3, 8, 16, BLOCK)
    names = {
        key: key.replace("weight_levels", "score")
        .replace("weight_level_", "compress.")
        .replace("batch_norm", "bn")
        for key in case.state
    }
    scores.load_state_dict({names[k]: v for k, v in case.state.items()})
    scores.train(name.endswith("_train"))
    maps = [case.inputs[f"level_{i}_resized"] for i in range(3)]
    weights = softmax_over_levels(scores(maps))
    outputs = {"fused": weighted_sum(maps, weights), "levels_weight": weights}
    case.check_outputs(outputs)
    case.backward(outputs)
    found = {
        k: scores.get_parameter(names[k]).grad for k in case.gradients if k[:3] != "in/"
    }
    found |= {f"in/{k}": x.grad for k, x in case.inputs.items()}
    case.check_gradients(found)
    check_buffers(case, scores, names)


def test_called_with_three_maps_or_one_sequence() -> None:
    case = golden("asff_level1_eval")
    module = load(case)
    maps = tuple(case.inputs[f"level_{i}"] for i in range(3))
    assert torch.equal(module(*maps), module(maps))
    case.check_outputs({"y": module(maps)})


@pytest.mark.parametrize(("level", "out"), [(0, 1024), (1, 512), (2, 256)])
@pytest.mark.parametrize("rfb", [False, True])
def test_released_widths(level: int, out: int, rfb: bool) -> None:
    with torch.device("meta"):
        module = released.build("asff", level=level, rfb=rfb)
        maps = [torch.zeros(2, c, s, s) for c, s in ((512, 4), (256, 8), (256, 16))]
    assert module(*maps).shape == (2, out, 4 * 2**level, 4 * 2**level)
    assert module.scores.compress[0].conv.out_channels == (8 if rfb else 16)


@pytest.mark.parametrize("level", range(3))
def test_convert_names_what_is_wrong(level: int) -> None:
    state = golden(f"asff_level{level}_eval").state
    block = f"{'compress' if level else 'stride'}_level_{0 if level else 2}"
    wrong = {k: v for k, v in state.items() if k != f"{block}.conv.weight"}
    wrong["fc.bias"] = torch.zeros(1)
    with pytest.raises(
        ValueError, match=rf"missing \['{block}.conv.weight'\].*'fc.bias'"
    ):
        released.convert("asff", wrong)


def test_state_dicts_of_old_pytorch_have_no_counts() -> None:
    case = golden("asff_level1_eval")
    state = {k: v for k, v in case.state.items() if "num_batches" not in k}
    module = released.build("asff", **case.config)
    found = module.load_state_dict(released.convert("asff", state), strict=False)
    assert not found.unexpected_keys
    assert all("num_batches" in key for key in found.missing_keys)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(level=3), ValueError, "level must be 0, 1 or 2, got 3"),
        (dict(channels=(8, 8, 8)), ValueError, "channels must be like the released"),
        (dict(channels=(8, 4, 2)), ValueError, "channels must be like the released"),
        (dict(channels=(8, 4)), ValueError, "channels must be like the released"),
        (dict(dim=8), TypeError, "unexpected keyword argument 'dim'"),
    ],
    ids=str,
)
def test_wrong_arguments(changes: dict, error, message: str) -> None:
    with pytest.raises(error, match=message):
        released.build("asff", **{"level": 1, **changes})
