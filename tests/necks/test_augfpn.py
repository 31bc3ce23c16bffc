import math

import pytest
import torch
from mmdet.models.necks import FPN
from torch import Tensor

from fpn_necks.layers import AdaptiveSpatialFusion
from fpn_necks.necks import AugFPN, SAlphaFPN

CHANNELS = [8, 16, 24, 32]
P2_P6 = dict(num_outs=5)
RETINANET = dict(num_outs=5, start_level=1, add_extra_convs="on_input")
PYRAMIDS = {
    "p2-p6": P2_P6,
    "p2-p5": dict(num_outs=4),
    "retinanet": RETINANET,
    "fcos": dict(
        num_outs=5,
        start_level=1,
        add_extra_convs="on_output",
        relu_before_extra_convs=True,
    ),
    "lateral": dict(num_outs=6, add_extra_convs="on_lateral"),
    "inner": dict(num_outs=2, start_level=1, end_level=2),
    "norm": dict(
        num_outs=5, norm_cfg=dict(type="BN"), act_cfg=dict(type="ReLU"),
        no_norm_on_lateral=True, add_extra_convs="on_input",
    ),
    "bilinear": dict(num_outs=5, upsample_cfg=dict(mode="bilinear")),
}  # fmt: skip
KINDS = [
    dict(),
    dict(fusion="sum"),
    dict(pooling="gap"),
    dict(pooling="gmp"),
    dict(pooling="psp"),
    dict(pooling="psp", fusion="psp"),
]


def maps(height: int = 48, width: int = 80) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    return [
        torch.randn(
            2, c, math.ceil(height / 2**i), math.ceil(width / 2**i), generator=random
        ).requires_grad_()
        for i, c in enumerate(CHANNELS)
    ]


def build(neck_type=AugFPN, **arguments):
    torch.manual_seed(0)
    neck = neck_type(CHANNELS, 16, **arguments)
    neck.init_weights()
    return neck


def build_without_residual(reference: torch.nn.Module, **arguments) -> AugFPN:
    """Return the neck with the weights of an FPN and those of the residual at zero."""
    neck = build(**arguments)
    result = neck.load_state_dict(reference.state_dict(), strict=False)
    assert result.unexpected_keys == []
    own = {k for k in neck.state_dict() if k.startswith("residual_features.")}
    assert own and set(result.missing_keys) == own
    for parameter in neck.residual_features.parameters():
        torch.nn.init.zeros_(parameter)
    return neck


@pytest.mark.parametrize("size", [(48, 80), (49, 67)], ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", PYRAMIDS)
def test_without_its_residual_it_is_fpn_bit_for_bit(name: str, kind, size) -> None:
    """An FPN's checkpoint loads, and outputs and gradients are the same."""
    theirs = build(FPN, **PYRAMIDS[name])
    ours = build_without_residual(theirs, **PYRAMIDS[name], **kind)
    found = []
    for neck in (ours, theirs):
        inputs = maps(*size)
        outputs = neck(inputs)
        random = torch.Generator().manual_seed(5)
        weights = [torch.randn(o.shape, generator=random) for o in outputs]
        sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)).backward()
        shared = [neck.get_parameter(k) for k, _ in theirs.named_parameters()]
        found.append([*outputs, *(x.grad for x in inputs), *(p.grad for p in shared)])
    for i, (a, b) in enumerate(zip(*found, strict=True)):
        # A map that FPN leaves out gets no gradient from either.
        assert (a is None) == (b is None), i
        assert a is None or torch.equal(a, b), i


def test_residual_is_added_to_the_highest_lateral_and_passed_down() -> None:
    neck, inputs = build(num_outs=4), maps(49, 67)
    residual = neck.residual_features(inputs[3])
    merged = neck.lateral_convs[3](inputs[3]) + residual
    expected = [neck.fpn_convs[3](merged)]
    for i in (2, 1, 0):
        lateral = neck.lateral_convs[i](inputs[i])
        size = lateral.shape[2:]
        merged = lateral + torch.nn.functional.interpolate(merged, size=size)
        expected.insert(0, neck.fpn_convs[i](merged))
    for a, b in zip(neck(inputs), expected, strict=True):
        torch.testing.assert_close(a, b)
    assert residual.abs().mean() > 0.01


@pytest.mark.parametrize("name", ["p2-p6", "retinanet", "fcos", "lateral"])
def test_residual_to_extra_level(name: str) -> None:
    """It reaches the first extra level and those derived from it, no other."""
    plain = build(**PYRAMIDS[name])
    context = build(**PYRAMIDS[name], residual_to_extra_level=True)
    assert list(plain.state_dict()) == list(context.state_dict())
    inputs = maps()
    average = plain.residual_features(inputs[3]).mean((2, 3), keepdim=True)
    num_used, num_outs = plain.levels.num_used, plain.levels.num_outs
    without, with_context = plain(inputs), context(inputs)
    for i in range(num_used):
        assert torch.equal(with_context[i], without[i])
    first = without[num_used] + average
    torch.testing.assert_close(with_context[num_used], first)
    if num_outs > num_used + 1:
        conv = context.fpn_convs[num_used + 1]
        source = first.relu() if name == "fcos" else first
        torch.testing.assert_close(with_context[num_used + 1], conv(source))


def test_residual_comes_from_the_last_used_map() -> None:
    neck, inputs = build(num_outs=2, start_level=1, end_level=2), maps()
    assert neck.residual_features.convs[0].in_channels == CHANNELS[2]
    sum(x.sum() for x in neck(inputs)).backward()
    assert [x.grad is not None for x in inputs] == [False, True, True, False]


def test_raw_laterals() -> None:
    """What consistent supervision supervises: a hook sees it and nothing changes it."""
    neck, inputs = build(**RETINANET), maps()
    seen: list[Tensor] = []
    hook = neck.lateral_convs.register_forward_hook(lambda *call: seen.append(call[2]))
    neck(inputs)
    hook.remove()
    expected = neck.lateral_convs(neck.levels.select(inputs))
    assert len(seen) == 1 and len(seen[0]) == 3
    for a, b in zip(seen[0], expected, strict=True):
        assert torch.equal(a, b)


def test_no_state_is_kept_between_calls() -> None:
    neck = build(**RETINANET, residual_to_extra_level=True)
    before = set(vars(neck))
    first = neck(maps())
    neck(maps(96, 64))
    assert set(vars(neck)) == before
    for a, b in zip(neck(maps()), first, strict=True):
        assert torch.equal(a, b)


def test_fusion_factor_is_that_of_s_alpha_fpn() -> None:
    alphas = [0.3, 0.2, 0.1]
    theirs = build(SAlphaFPN, num_outs=5, fusion_factor=alphas)
    ours = build_without_residual(theirs, num_outs=5, fusion_factor=alphas)
    for a, b in zip(ours(maps()), theirs(maps()), strict=True):
        assert torch.equal(a, b)
    learnable = build(num_outs=5, fusion_factor="learnable")
    learnable(maps())[0].pow(2).mean().backward()
    assert (learnable.fusion_factor.alpha.grad != 0).all()


def test_parameters_of_the_published_models() -> None:
    """Three 1x1 convs on C5, and spatial fusion of three maps."""
    channels = [256, 512, 1024, 2048]
    count = {
        neck: sum(p.numel() for p in neck(channels, 256, num_outs=5).parameters())
        for neck in (AugFPN, FPN)
    }
    branches = 3 * (2048 * 256 + 256)
    fusion = 3 * 256 * 256 + 256 + 9 * 256 * 3 + 3
    assert count[AugFPN] - count[FPN] == branches + fusion


def test_single_ratio_has_spatial_fusion() -> None:
    """A row of Table 4."""
    neck = build(**P2_P6, ratios=[0.1])
    assert isinstance(neck.residual_features.fusion, AdaptiveSpatialFusion)
