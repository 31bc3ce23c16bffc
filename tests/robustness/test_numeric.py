"""Gradients in float64, bfloat16, and features that are huge or nothing at all."""

from collections.abc import Callable

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

import fpn_necks.necks  # noqa: F401
from fpn_necks import layers
from tests.neck_cases import CASES, IN_CHANNELS, NeckCase

GN = dict(type="GN", num_groups=2)
# A group of two pooled values is a sign and no number: bfloat16 would be lost there.
ONE_GROUP = dict(type="GN", num_groups=1)
SETTINGS = dict(norm_cfg=GN, act_cfg=dict(type="LeakyReLU", negative_slope=0.1))
SIZES = ((5, 4), (3, 2), (2, 1))


def statistic_factor() -> nn.Module:
    factor = layers.StatisticFusionFactor(2, 4)
    factor.set([0.4, 0.7])
    return factor


# What is built, and the shapes of what it reads: one map, or a list of maps. "levels"
# are maps of 4 channels in SIZES, "same" two maps of one size.
LAYERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "AdaptiveChannelFusion": (lambda: layers.AdaptiveChannelFusion(2, 4), "same"),
    "AdaptiveSpatialFusion": (lambda: layers.AdaptiveSpatialFusion(2, 4), "same"),
    "AttentionFusionFactor": (lambda: layers.AttentionFusionFactor(2, 4), "factor"),
    "CascadeFeatureGrouping": (
        lambda: layers.CascadeFeatureGrouping(2, 4, 4, 2, noise=0.3),
        "two levels",
    ),
    "ChannelRefinement": (
        lambda: layers.ChannelRefinement(4, guide="cat", norm_cfg=ONE_GROUP),
        "pair",
    ),
    "CompressedLevelScores": (
        lambda: layers.CompressedLevelScores(2, 4, 4, SETTINGS),
        "same",
    ),
    "DenseASPPContext": (lambda: layers.DenseASPPContext(4, 2, (1, 2)), "map"),
    "DirectLevelScores": (lambda: layers.DirectLevelScores(2, 4), "same"),
    "FeatureGrouping": (lambda: layers.FeatureGrouping(2, 4, 4), "two levels"),
    "FixedFusionFactor": (lambda: layers.FixedFusionFactor(2, 4, 0.3), "factor"),
    "GroupingMatrix": (lambda: layers.GroupingMatrix(4, 4, 2), "map"),
    "LateralConvs": (lambda: layers.LateralConvs([4, 4, 4], 4, SETTINGS), "levels"),
    "LearnableFusionFactor": (lambda: layers.LearnableFusionFactor(2, 4), "factor"),
    "LevelFusion": (
        lambda: layers.LevelFusion(
            [4, 4, 4], 1, 4, "fine_to_coarse", "compressed", 4, "asff", SETTINGS
        ),
        "levels",
    ),
    "LevelResizing": (
        lambda: layers.LevelResizing([4, 4, 4], 2, "fine_to_coarse", SETTINGS),
        "levels",
    ),
    "NarrowConv": (lambda: layers.NarrowConv(4, 2), "map"),
    "NonLocalContext": (lambda: layers.NonLocalContext(8, 2), "wide map"),
    "OutputConvs": (lambda: layers.OutputConvs(3, 4, 4, [], SETTINGS), "levels"),
    "PyramidPooling": (lambda: layers.PyramidPooling(4, 2, (1, 2)), "map"),
    "ResidualFeatureAugmentation": (
        lambda: layers.ResidualFeatureAugmentation(4, 2, ratios=(0.5, 1)),
        "map",
    ),
    "SpatialRefinement": (lambda: layers.SpatialRefinement(4), "pair"),
    "MaxFusion": (lambda: layers.MaxFusion(), "same"),
    "SumFusion": (lambda: layers.SumFusion(), "same"),
    "StatisticFusionFactor": (statistic_factor, "factor"),
}
ABSTRACT = {"FusionFactor"}
every_layer = pytest.mark.parametrize("name", LAYERS)


def inputs_of(kind: str, scale: float = 1.0, size: int = 1, **options) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    channels = 8 if kind == "wide map" else 4
    if kind in ("map", "wide map", "factor"):
        sizes = SIZES[:1]
    elif kind == "same":
        sizes = SIZES[:1] * 2
    else:
        sizes = SIZES[: 3 if kind == "levels" else 2]
    return [
        (scale * torch.randn(2, channels, h * size, w * size, generator=random))
        .to(**options)
        .requires_grad_()
        for h, w in sizes
    ]


def run(module: nn.Module, kind: str, *maps: Tensor) -> list[Tensor]:
    if kind == "factor":
        return [module(1, maps[0])]
    if kind == "pair" or len(maps) == 1:
        result = module(*maps)
    else:
        result = module(list(maps))
    return list(result) if isinstance(result, list | tuple) else [result]


def build(name: str) -> tuple[nn.Module, str]:
    torch.manual_seed(1)
    make, kind = LAYERS[name]
    module = make()
    with torch.no_grad():
        for parameter in module.parameters():
            # Away from zeros and kinks.
            parameter.add_(0.1 * torch.rand_like(parameter))
    return module, kind


def test_every_layer_is_here() -> None:
    public = {
        name
        for name in layers.__all__
        if isinstance(getattr(layers, name), type)
        and issubclass(getattr(layers, name), nn.Module)
    }
    assert public - ABSTRACT == set(LAYERS)


@every_layer
def test_gradcheck(name: str) -> None:
    """Inputs and parameters, against differences in float64."""
    module, kind = build(name)
    module = module.double()
    maps = inputs_of(kind, dtype=torch.double)
    parameters = dict(module.named_parameters())

    class Run(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
            return tuple(run(self.module, kind, *maps))

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        named = zip(parameters, values[len(maps) :], strict=True)
        changed = {f"module.{key}": value for key, value in named}
        return torch.func.functional_call(Run(), changed, values[: len(maps)])

    assert torch.autograd.gradcheck(
        function, (*maps, *parameters.values()), fast_mode=True
    )


def check_finite(module: nn.Module, outputs: list[Tensor], maps: list[Tensor]) -> None:
    assert all(output.isfinite().all() for output in outputs)
    sum(output.float().mean() for output in outputs).backward()
    for key, parameter in module.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), key
    assert all(x.grad is None or x.grad.isfinite().all() for x in maps)


extremes = pytest.mark.parametrize("scale", [0.0, 1e4])
precisions = pytest.mark.parametrize("low", [False, True], ids=["float32", "bfloat16"])


@every_layer
@extremes
@precisions
def test_extreme_features_of_layers(name: str, scale: float, low: bool) -> None:
    module, kind = build(name)
    maps = inputs_of(kind, scale, size=2)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        outputs = run(module, kind, *maps)
    check_finite(module, outputs, maps)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@extremes
@precisions
def test_extreme_features_of_necks(case: NeckCase, scale: float, low: bool) -> None:
    torch.manual_seed(0)
    neck = MODELS.build(case.config())
    neck.init_weights()
    random = torch.Generator().manual_seed(1)
    maps = [
        (scale * torch.randn(2, c, 24 >> i, 32 >> i, generator=random)).requires_grad_()
        for i, c in enumerate(IN_CHANNELS)
    ]
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        outputs = neck(maps)
    check_finite(neck, list(outputs), maps)
