"""Gradients in float64, bfloat16, and features that are huge or nothing at all."""

from collections.abc import Callable

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

import fpn_necks.necks  # noqa: F401
from fpn_necks import layers
from fpn_necks.auxiliary.uncertainty import UncertainLoss, Uncertainty, UncertaintyRows

GN = dict(type="GN", num_groups=2)
# A group of two pooled values is a sign and no number: bfloat16 would be lost there.
ONE_GROUP = dict(type="GN", num_groups=1)
SETTINGS = dict(norm_cfg=GN, act_cfg=dict(type="LeakyReLU", negative_slope=0.1))
SIZES = ((5, 4), (3, 2), (2, 1))


def statistic_factor() -> nn.Module:
    factor = layers.StatisticFusionFactor(2, 4)
    factor.set([0.4, 0.7])
    return factor


def extractor(kind: str, **fusion: str) -> nn.Module:
    pytest.importorskip("mmcv.ops")
    import fpn_necks.roi_extractors  # noqa: F401

    layer = dict(type="RoIAlign", output_size=3, sampling_ratio=0)
    config = dict(type=kind, roi_layer=layer, out_channels=4, featmap_strides=[4, 8])
    return MODELS.build(config | fusion)


# What is built, and the shapes of what it reads: one map, or a list of maps. "levels"
# are maps of 4 channels in SIZES, "same" two maps of one size, "rois" two for ROIS.
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
    "DenseASPPContext": (lambda: layers.DenseASPPContext(4, 2), "map"),
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
    "PyramidPooling": (lambda: layers.PyramidPooling(4, 2), "map"),
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
EXTRACTORS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "AllLevelRoIExtractor": (lambda: extractor("AllLevelRoIExtractor"), "rois"),
    **{
        f"SoftRoIExtractor {fusion}": (
            lambda fusion=fusion: extractor("SoftRoIExtractor", fusion=fusion),
            "rois",
        )
        for fusion in ("asf", "acf", "sum", "max")
    },
}
ROIS = torch.tensor([[0, 1.0, 2, 40, 30], [1, 8, 8, 8, 8], [1, -9, 4, 500, 90.0]])
every_module = pytest.mark.parametrize("name", [*LAYERS, *EXTRACTORS])


def inputs_of(kind: str, scale: float = 1.0, size: int = 1, **options) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    channels = 8 if kind == "wide map" else 4
    if kind in ("map", "wide map", "factor"):
        sizes = SIZES[:1]
    else:
        others = dict(levels=SIZES, same=SIZES[:1] * 2, rois=((8, 8), (4, 4)))
        sizes = others.get(kind, SIZES[:2])
    return [
        (scale * torch.randn(2, channels, h * size, w * size, generator=random))
        .to(**options)
        .requires_grad_()
        for h, w in sizes
    ]


def run(module: nn.Module, kind: str, *maps: Tensor) -> list[Tensor]:
    if kind == "factor":
        return [module(1, maps[0])]
    if kind == "rois":
        if torch.is_autocast_cpu_enabled():  # then necks give bfloat16
            maps = tuple(x.bfloat16() for x in maps)
        return [module(list(maps), ROIS)]
    if kind == "pair" or len(maps) == 1:
        result = module(*maps)
    else:
        result = module(list(maps))
    return list(result) if isinstance(result, list | tuple) else [result]


def build(name: str) -> tuple[nn.Module, str]:
    torch.manual_seed(1)
    make, kind = (LAYERS | EXTRACTORS)[name]
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


@every_module
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


@pytest.mark.parametrize("kind", ["cls", "bbox"])
def test_gradcheck_of_the_uncertainty_loss(kind: str) -> None:
    """Through α, the head's own loss, its weights, and τ · mean α."""
    from mmdet.models.losses import FocalLoss, SmoothL1Loss

    torch.manual_seed(0)
    branch = Uncertainty(3, dense=False).double()
    for parameter in branch.parameters():
        parameter.data.uniform_(0.1, 1)  # α is above 0
    x = torch.rand(6, 3, dtype=torch.double).requires_grad_()
    wrapped = FocalLoss() if kind == "cls" else SmoothL1Loss(beta=0.5)
    labels = torch.tensor([0, 1, 2, 0, 2, 1])  # 2 is the background
    pred = torch.randn(6, 2 if kind == "cls" else 4, dtype=torch.double)
    weight = torch.tensor([1.0, 0.5, 0, 1, 1, 0]).double()

    def function(x: Tensor, pred: Tensor) -> Tensor:
        rows = UncertaintyRows(num_classes=2)
        # Uncertainty gives float32, as heads' losses are; here all is float64.
        alpha = branch.layer(x).relu().flatten()
        rows.start([alpha], [alpha])
        loss = UncertainLoss(wrapped, rows, kind)
        if kind == "cls":
            value = loss(pred, labels, weight, avg_factor=3.0)
        else:
            rows.of_scores(labels)
            each = weight[:, None].expand(-1, 4)
            value = loss(pred, torch.zeros_like(pred), each, avg_factor=3.0)
        return value + 0.5 * rows.mean(kind)

    assert torch.autograd.gradcheck(function, (x, pred.requires_grad_()))


@every_module
def test_bfloat16(name: str) -> None:
    """bfloat16 has 8 bits of a number: the error is a share of the norm.

    Gradients have a larger one: a ReLU or a sampling point near its kink may fall on
    the other side.
    """
    module, kind = build(name)
    results = []
    for enabled in (True, False):
        maps = inputs_of(kind, size=3)
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs = run(module, kind, *maps)
        sum((o.float() ** 2).mean() for o in outputs).backward()
        results.append(([o.float() for o in outputs], [x.grad for x in maps]))
    for part, tolerance in ((0, 0.02), (1, 0.15)):
        for low, exact in zip(results[0][part], results[1][part], strict=True):
            assert low.isfinite().all()
            error = (low - exact).norm() / exact.norm().clamp(min=1e-9)
            assert error <= tolerance


@every_module
@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("low", [False, True], ids=["float32", "bfloat16"])
def test_extreme_features(name: str, scale: float, low: bool) -> None:
    module, kind = build(name)
    maps = inputs_of(kind, scale, size=2)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        outputs = run(module, kind, *maps)
    assert all(output.isfinite().all() for output in outputs)
    sum(output.float().mean() for output in outputs).backward()
    for x in (*module.parameters(), *maps):
        assert x.grad is None or x.grad.isfinite().all()
