"""The released classes' numbers, from their arguments and their state dicts."""

import pytest
import torch
from torch import Tensor, nn

from fpn_necks import released
from fpn_necks.layers import CompressedLevelScores, softmax_over_levels, weighted_sum
from tests.golden import OUTPUT_TOLERANCE, Golden, every_file, golden
from tests.released.golden_runs import METHODS, load, outputs_of


def check_backward(
    case: Golden, module: nn.Module, names: dict[str, str], outputs: dict[str, Tensor]
) -> None:
    """Compare gradients, and the statistics that a training pass moved.

    ``names`` gives our name for each of theirs.
    """
    case.backward(outputs)
    parameters = dict(module.named_parameters())
    found = {
        k: parameters[ours].grad for k, ours in names.items() if ours in parameters
    }
    case.check_gradients(found | {f"in/{k}": x.grad for k, x in case.inputs.items()})
    for theirs, expected in case.after.items():
        ours = module.state_dict()[names[theirs]]
        torch.testing.assert_close(ours, expected, **OUTPUT_TOLERANCE)


@every_file(*METHODS)
def test_released_class(name: str) -> None:
    case = golden(name)
    module = load(case)
    outputs = outputs_of(name, module, case.inputs)
    assert set(outputs) == set(case.outputs)
    case.check_outputs(outputs)
    assert bool(case.after) == name.endswith("_train")
    names = released.METHODS[METHODS[name]].names(case.state)
    check_backward(case, module, names, outputs)


@every_file(*(name for name in METHODS if "softroi" in name))
def test_weights_of_soft_roi(name: str) -> None:
    case = golden(name)
    feats = [case.inputs[f"feat.{i}"] for i in range(4)]
    weights = load(case).level_weights(feats, case.inputs["rois"])
    expected = case.middle["spatial_attention_logits"].sigmoid()
    torch.testing.assert_close(weights, expected, atol=2e-6, rtol=0)


@every_file(*(name for name in METHODS if "asff" in name))
def test_maps_inside_of_asff(name: str) -> None:
    case = golden(name)
    module = load(case)
    seen: dict[str, Tensor] = {}
    module.expand.register_forward_pre_hook(
        lambda _, inputs: seen.update(fused_out_reduced=inputs[0])
    )
    maps = [case.inputs[f"level_{i}"] for i in range(3)]
    module(maps)
    seen |= {f"level_{i}_resized": x for i, x in enumerate(module.resizing(maps))}
    assert set(seen) == set(case.middle)
    for key, tensor in seen.items():
        torch.testing.assert_close(tensor, case.middle[key], **OUTPUT_TOLERANCE)


@every_file("asff_fusion_train", "asff_fusion_eval")
def test_asff_of_maps_of_one_size(name: str) -> None:
    case = golden(name)
    block = dict(
        norm_cfg=dict(type="BN"), act_cfg=dict(type="LeakyReLU", negative_slope=0.1)
    )
    scores = CompressedLevelScores(3, 8, 16, block)
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
    check_backward(case, scores, names, outputs)


@pytest.mark.parametrize(("level", "out"), [(0, 1024), (1, 512), (2, 256)])
@pytest.mark.parametrize("rfb", [False, True])
def test_asff_in_its_released_widths(level: int, out: int, rfb: bool) -> None:
    with torch.device("meta"):
        module = released.build("asff", level=level, rfb=rfb)
        maps = [torch.zeros(2, c, s, s) for c, s in ((512, 4), (256, 8), (256, 16))]
    assert module(maps).shape == (2, out, 4 * 2**level, 4 * 2**level)
    assert module.scores.compress[0].conv.out_channels == (8 if rfb else 16)
