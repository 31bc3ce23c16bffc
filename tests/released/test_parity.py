"""The released classes' numbers, from their arguments and their state dicts."""

import pytest
import torch
from torch import Tensor, nn

from fpn_necks import released
from fpn_necks.layers import CompressedLevelScores, softmax_over_levels, weighted_sum
from tests.golden import OUTPUT_TOLERANCE, Golden, every_file, golden

NECKS = {
    "augfpn_highfpn_frcnn": "highfpn",
    "augfpn_highfpn_bn_train": "highfpn",
    "augfpn_highfpn_bn_eval": "highfpn",
    "augfpn_highfpn_retinanet": "highfpn-retinanet",
    "augfpn_highfpn_fcos": "highfpn-retinanet",
    **{
        f"drfpn_{detector}_{mode}": "drfpn"
        for detector in ("frcnn", "retinanet", "fcos")
        for mode in ("train", "eval")
    },
}
ASFF = [f"asff_level{i}_{mode}" for i in range(3) for mode in ("train", "eval")]
SOFT_ROI = [f"augfpn_softroi_{op}_sr{n}" for op in ("mmcv", "legacy") for n in (2, 0)]


def load(case: Golden, method: str, **changes) -> nn.Module:
    module = released.build(method, **{**case.config, **changes})
    module.load_state_dict(released.convert(method, case.state))
    return module.train(case.name.endswith("_train"))


def check_backward(
    case: Golden, module: nn.Module, names: dict[str, str], outputs: dict[str, Tensor]
) -> None:
    """Compare gradients, and the statistics that a training pass moved.

    Args:
        case: what the released code computed.
        module: ours.
        names: theirs -> ours.
        outputs: of our forward pass, by their names.
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


@every_file(*NECKS)
def test_neck(name: str) -> None:
    case, method = golden(name), NECKS[name]
    neck = load(case, method)
    seen: list[Tensor] = []
    neck.lateral_convs.register_forward_hook(lambda *call: seen.extend(call[2]))
    maps = neck(tuple(case.inputs[str(i)] for i in range(len(case.inputs))))
    assert isinstance(maps, tuple)
    if method == "drfpn":
        outputs = {str(i): x for i, x in enumerate(maps)}
        assert bool(case.after) == name.endswith("_train")
    else:
        outputs = {f"outs.{i}": x for i, x in enumerate(maps)}
        outputs |= {f"raw_laterals.{i}": x for i, x in enumerate(seen)}
    assert set(outputs) == set(case.outputs)
    case.check_outputs(outputs)
    check_backward(case, neck, released.METHODS[method].names(case.state), outputs)


@every_file(*SOFT_ROI)
def test_soft_roi(name: str) -> None:
    case = golden(name)
    layer = case.config["roi_layer"]
    if "legacy" in name:
        layer = layer | dict(legacy=True)
    extractor = load(case, "soft-roi", roi_layer=layer)
    feats = [case.inputs[f"feat.{i}"] for i in range(4)]
    rois = case.inputs["rois"]
    outputs = {"y": extractor(feats, rois)}
    case.check_outputs(outputs)
    expected = case.middle["spatial_attention_logits"].sigmoid()
    weights = extractor.level_weights(feats, rois)
    torch.testing.assert_close(weights, expected, atol=2e-6, rtol=0)
    names = released.METHODS["soft-roi"].names(case.state)
    check_backward(case, extractor, names, outputs)


@every_file(*ASFF)
def test_asff(name: str) -> None:
    case = golden(name)
    module = load(case, "asff")
    seen: dict[str, Tensor] = {}
    module.scores.register_forward_hook(
        lambda _, __, scores: seen.update(weights=softmax_over_levels(scores))
    )
    module.expand.register_forward_pre_hook(
        lambda _, inputs: seen.update(fused_out_reduced=inputs[0])
    )
    maps = [case.inputs[f"level_{i}"] for i in range(3)]
    outputs = {"y": module(maps), "levels_weight": seen.pop("weights")}
    case.check_outputs(outputs)
    if not module.training:  # then it would move the statistics again
        seen |= {f"level_{i}_resized": x for i, x in enumerate(module.resizing(maps))}
        assert set(seen) == set(case.middle)
    for key, tensor in seen.items():
        torch.testing.assert_close(tensor, case.middle[key], **OUTPUT_TOLERANCE)
    assert bool(case.after) == name.endswith("_train")
    check_backward(case, module, released.METHODS["asff"].names(case.state), outputs)


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
