import copy

import pytest
import torch

from tests.necks.test_equals_fpn import PYRAMIDS, maps
from tests.necks.test_equals_fpn import build as build_neck
from tests.stack import needs_whole_graphs


def build(type: str = "SAlphaFPN", **arguments):
    if type == "SAlphaFPN":
        arguments.setdefault("fusion_factor", 1.0)
    return build_neck(type, **arguments)


def test_scale_factor_in_upsample_cfg_is_taken_as_in_fpn() -> None:
    settings = dict(num_outs=5, upsample_cfg=dict(scale_factor=2, mode="bilinear"))
    ours, theirs = build(**settings), build("FPN", **settings)
    for a, b in zip(ours(maps()), theirs(maps()), strict=True):
        assert torch.equal(a, b)
    ours(maps(49, 67))  # FPN fails here: 2 times the upper side is not the lower side


@pytest.mark.parametrize(
    "factor",
    [[0.3, 0.2, 0.1], "statistic", "learnable", "learnable-shared", "attention"],
    ids=str,
)
def test_fpn_checkpoints_lack_learned_factors_alone(factor) -> None:
    neck = build(num_outs=5, fusion_factor=factor)
    state = build("FPN", num_outs=5).state_dict()
    result = neck.load_state_dict(state, strict=False)
    learned = [k for k, _ in neck.named_parameters() if "fusion_factor." in k]
    assert result.missing_keys == learned and result.unexpected_keys == []


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


@pytest.mark.parametrize("name", ["retinanet", "fcos", "lateral", "inner", "norm"])
def test_power_init_equals_factor_sigma(name: str) -> None:
    """Sec. 3.3 and Fig. 8: σ-power initialisation with α = 1 is the plain α = σ."""
    # With biases of 0 one would not see whether they are scaled.
    init_cfg = dict(type="Normal", layer="Conv2d", std=0.1, bias=0.3)
    settings = PYRAMIDS[name] | dict(init_cfg=init_cfg)
    scaled = build(**settings, power_init=0.5)
    plain = build(**settings, fusion_factor=0.5)
    for a, b in zip(scaled(maps()), plain(maps()), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_power_init_scales_norms_and_only_once() -> None:
    constant = dict(type="Constant", layer="Conv2d", val=1.0)
    settings = dict(num_outs=4, init_cfg=constant, power_init=0.5)
    neck = build(**settings, norm_cfg=dict(type="BN"))
    neck.init_weights()
    for k in range(4):
        assert torch.all(neck.lateral_convs[k].conv.weight == 1.0)
        assert torch.all(neck.lateral_convs[k].norm.weight == 0.5**k)
        assert torch.all(neck.fpn_convs[k].conv.weight == 2.0**k)


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
