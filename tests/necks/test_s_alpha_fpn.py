import copy
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmdet.models.necks import FPN
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fpn_necks.necks import SAlphaFPN
from tests.stack import needs_whole_graphs

CHANNELS = [8, 16, 24, 32]
PYRAMIDS = {
    "p2-p6": dict(num_outs=5),
    "p2-p5": dict(num_outs=4),
    "retinanet": dict(num_outs=5, start_level=1, add_extra_convs="on_input"),
    "true": dict(num_outs=6, start_level=1, add_extra_convs=True),
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


def maps(height: int = 48, width: int = 80) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    return [
        torch.randn(
            2, c, math.ceil(height / 2**i), math.ceil(width / 2**i), generator=random
        ).requires_grad_()
        for i, c in enumerate(CHANNELS)
    ]


def build(neck_type=SAlphaFPN, **arguments):
    torch.manual_seed(0)
    if neck_type is SAlphaFPN:
        arguments.setdefault("fusion_factor", 1.0)
    neck = neck_type(CHANNELS, 16, **arguments)
    neck.init_weights()
    return neck


def gradients(neck, inputs: list[Tensor]) -> list[Tensor | None]:
    outputs = neck(inputs)
    random = torch.Generator().manual_seed(5)
    weights = [torch.randn(o.shape, generator=random) for o in outputs]
    sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)).backward()
    found = [x.grad for x in inputs] + [p.grad for p in neck.parameters()]
    return [*outputs, *found]


@pytest.mark.parametrize("size", [(48, 80), (49, 67)], ids=str)
@pytest.mark.parametrize("name", PYRAMIDS)
def test_factor_1_is_fpn_bit_for_bit(name: str, size: tuple[int, int]) -> None:
    """The same seed gives the same weights, outputs and gradients as mmdet's FPN."""
    ours, theirs = build(**PYRAMIDS[name]), build(FPN, **PYRAMIDS[name])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    compared = zip(
        gradients(ours, maps(*size)), gradients(theirs, maps(*size)), strict=True
    )
    for a, b in compared:
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)


def test_scale_factor_in_upsample_cfg_is_taken_as_in_fpn() -> None:
    settings = dict(num_outs=5, upsample_cfg=dict(scale_factor=2, mode="bilinear"))
    ours, theirs = build(**settings), build(FPN, **settings)
    for a, b in zip(ours(maps()), theirs(maps()), strict=True):
        assert torch.equal(a, b)
    ours(maps(49, 67))  # FPN fails here: 2 times the upper side is not the lower side


@pytest.mark.parametrize(
    "factor", [1.0, [0.3, 0.2, 0.1], "statistic"], ids=["number", "list", "statistic"]
)
def test_fpn_checkpoint_loads_without_missing_or_unexpected_key(factor) -> None:
    theirs = build(FPN, num_outs=5)
    result = build(num_outs=5, fusion_factor=factor).load_state_dict(
        theirs.state_dict()
    )
    assert result.missing_keys == [] and result.unexpected_keys == []


@pytest.mark.parametrize("factor", ["learnable", "learnable-shared", "attention"])
def test_learned_factors_are_reported_as_missing(factor: str) -> None:
    theirs = build(FPN, num_outs=5)
    neck = build(num_outs=5, fusion_factor=factor)
    result = neck.load_state_dict(theirs.state_dict(), strict=False)
    assert result.missing_keys
    assert all(key.startswith("fusion_factor.") for key in result.missing_keys)


def test_eq_1() -> None:
    alphas = [0.368, 0.387, 0.367]
    neck = build(num_outs=4, fusion_factor=alphas)
    inputs = maps()
    laterals = [conv(x) for conv, x in zip(neck.lateral_convs, inputs, strict=True)]
    merged = laterals[3]
    expected = [neck.fpn_convs[3](merged)]
    for i in (2, 1, 0):
        up = merged.repeat_interleave(2, 2).repeat_interleave(2, 3)
        merged = laterals[i] + alphas[i] * up
        expected.insert(0, neck.fpn_convs[i](merged))
    for a, b in zip(neck(inputs), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_factor_0_cuts_the_top_down_path() -> None:
    inputs = maps()
    outputs = build(num_outs=4, fusion_factor=[1.0, 0.0, 1.0])(inputs)
    (outputs[0].sum() + outputs[1].sum()).backward()
    reached = [x.grad is not None and bool(x.grad.abs().sum() > 0) for x in inputs]
    assert reached == [True, True, False, False]


@pytest.mark.parametrize("sigma", [0.5, 0.8])
@pytest.mark.parametrize(
    "name", ["p2-p6", "retinanet", "fcos", "lateral", "inner", "norm"]
)
def test_power_init_equals_factor_sigma(name: str, sigma: float) -> None:
    """Sec. 3.3 and Fig. 8: σ-power initialisation with α = 1 is the plain α = σ."""
    scaled = build(**PYRAMIDS[name], power_init=sigma)
    plain = build(**PYRAMIDS[name], fusion_factor=sigma)
    for neck in (scaled, plain):
        for conv in neck.lateral_convs:  # biases start at 0, which would hide them
            if conv.conv.bias is not None:
                torch.nn.init.constant_(conv.conv.bias, 0.3)
    with torch.no_grad():
        for k, conv in enumerate(scaled.lateral_convs):
            if conv.conv.bias is not None:
                conv.conv.bias.mul_(sigma**k)
    for a, b in zip(scaled(maps()), plain(maps()), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_power_init_scales_biases_and_norms() -> None:
    settings = dict(
        num_outs=4,
        init_cfg=dict(type="Constant", layer="Conv2d", val=1.0, bias=1.0),
        power_init=0.5,
    )
    neck = build(**settings)
    for k in range(4):
        assert torch.all(neck.lateral_convs[k].conv.weight == 0.5**k)
        assert torch.all(neck.lateral_convs[k].conv.bias == 0.5**k)
        assert torch.all(neck.fpn_convs[k].conv.weight == 2.0**k)
        assert torch.all(neck.fpn_convs[k].conv.bias == 1.0)
    normed = build(**settings, norm_cfg=dict(type="BN"))
    for k in range(4):
        assert torch.all(normed.lateral_convs[k].conv.weight == 1.0)
        assert torch.all(normed.lateral_convs[k].norm.weight == 0.5**k)
    neck.init_weights()  # a second call must not scale again
    assert torch.all(neck.lateral_convs[3].conv.weight == 0.125)


def test_fixed_factor_is_never_taken_from_a_checkpoint() -> None:
    trained = build(num_outs=5, fusion_factor=[0.1, 0.2, 0.3])
    neck = build(num_outs=5, fusion_factor=0.7)
    neck.load_state_dict(trained.state_dict())
    assert neck.fusion_factor.alpha.tolist() == pytest.approx([0.7] * 3)


def test_statistic_factor_lives_in_the_checkpoint() -> None:
    trained = build(num_outs=5, fusion_factor="statistic")
    trained.fusion_factor.set([0.1, 0.2, 0.3])
    neck = build(num_outs=5, fusion_factor="statistic")
    with pytest.raises(RuntimeError, match="FusionFactorHook.*fpn-necks alpha"):
        neck(maps())
    neck.load_state_dict(trained.state_dict())
    for a, b in zip(neck(maps()), trained(maps()), strict=True):
        assert torch.equal(a, b)
    fixed = build(num_outs=5, fusion_factor=[0.1, 0.2, 0.3])
    for a, b in zip(neck(maps()), fixed(maps()), strict=True):
        assert torch.equal(a, b)


@needs_whole_graphs
def test_loaded_statistic_compiles_as_one_graph() -> None:
    trained = build(num_outs=5, fusion_factor="statistic")
    trained.fusion_factor.set([0.1, 0.2, 0.3])
    neck = build(num_outs=5, fusion_factor="statistic")
    neck.load_state_dict(trained.state_dict())
    compiled = torch.compile(neck, backend="eager", fullgraph=True)
    for a, b in zip(compiled(maps()), trained(maps()), strict=True):
        torch.testing.assert_close(a, b)


def test_unset_statistic_stays_unset_through_a_checkpoint() -> None:
    neck = build(num_outs=5, fusion_factor="statistic")
    neck.fusion_factor.set([1, 1, 1])
    neck.load_state_dict(build(num_outs=5, fusion_factor="statistic").state_dict())
    assert not neck.fusion_factor.is_set
    assert not copy.deepcopy(neck).fusion_factor.is_set


def test_learnable_factors_learn() -> None:
    for kind, size in (("learnable", 3), ("learnable-shared", 1)):
        neck = build(num_outs=5, fusion_factor=kind)
        assert neck.fusion_factor.alpha.shape == (size,)
        neck(maps())[0].pow(2).mean().backward()
        assert (neck.fusion_factor.alpha.grad != 0).all()
    config = dict(type="LearnableFusionFactor", init=[0.3, 0.2, 0.1])
    neck = build(num_outs=5, fusion_factor=config)
    assert neck.fusion_factor.alpha.tolist() == pytest.approx([0.3, 0.2, 0.1])


def test_attention_gives_one_factor_per_image_and_connection() -> None:
    neck = build(num_outs=5, fusion_factor="attention")
    upper = (
        torch.randn(3, 16, 5, 7) * torch.tensor([0.0, 1.0, 5.0])[:, None, None, None]
    )
    alphas = [neck.fusion_factor.alpha_of(i, upper + i) for i in range(3)]
    assert all(alpha.shape == (3, 1, 1, 1) for alpha in alphas)
    assert len({round(float(a), 6) for alpha in alphas for a in alpha.flatten()}) == 9
    assert all(0 < float(a) < 1 for alpha in alphas for a in alpha.flatten())


def test_works_without_compiled_ops(tmp_path: Path) -> None:
    """As with mmcv-lite: the neck needs no op, so it must not import any."""
    code = (
        "import sys; sys.modules['mmcv._ext'] = None;"
        "import torch, fpn_necks;"
        "from fpn_necks.necks import SAlphaFPN;"
        "neck = SAlphaFPN([4, 8], 4, num_outs=3, fusion_factor='learnable');"
        "maps = [torch.rand(1, 4, 8, 8), torch.rand(1, 8, 4, 4)];"
        "print(len(neck(maps)))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "3", result.stderr


class CountedOperations(TorchDispatchMode):
    """Counts what is computed; views cost nothing and are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.counts[str(func.overloadpacket)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("factor", [0.5, "statistic", "learnable"])
def test_costs_one_multiplication_per_connection(factor) -> None:
    settings = dict(in_channels=CHANNELS, out_channels=16, num_outs=5)
    neck, fpn = SAlphaFPN(**settings, fusion_factor=factor), FPN(**settings)
    if factor == "statistic":
        neck.fusion_factor.set([0.5, 0.4, 0.3])
    with CountedOperations() as base:
        fpn(maps())
    with CountedOperations() as ours:
        neck(maps())
    # mmdet adds in place; ours adds to a new map, which is the same work.
    base.counts["aten.add"] += base.counts.pop("aten.add_", 0)
    assert ours.counts - base.counts == {"aten.mul": 3}
    assert not base.counts - ours.counts
