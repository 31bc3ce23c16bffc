import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.necks import FPN
from torch import Tensor

from fpn_necks.necks import CFGFPN
from tests.layers.slow_feature_grouping import below, slow_cascade
from tests.neck_cases import backbone_maps

WIDTHS = [5, 6, 7, 8, 9]


def build(neck_type=CFGFPN, in_channels=WIDTHS, out_channels=8, **arguments):
    torch.manual_seed(0)
    arguments.setdefault("num_outs", len(in_channels))
    neck = neck_type(in_channels, out_channels, **arguments)
    neck.init_weights()
    return neck


def slow_neck(neck: CFGFPN, maps: list[Tensor], **settings) -> list[Tensor]:
    """Return the levels that have a lateral, and one pooled level."""
    weights = dict(neck.named_parameters())

    def conv(name: str, x: Tensor, **options) -> Tensor:
        weight, bias = weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"]
        return F.conv2d(x, weight, bias, **options)

    laterals = [conv(f"lateral_convs.{i}", x) for i, x in enumerate(maps)]
    fused = slow_cascade(below(weights, "grouping."), laterals, **settings)
    outputs = [conv(f"fpn_convs.{i}", x, padding=1) for i, x in enumerate(fused)]
    return [*outputs, outputs[-1][:, :, ::2, ::2]]


CORNERS = dict(mode="bilinear", align_corners=True)


@pytest.mark.parametrize(
    ("num_levels", "out_channels", "settings"),
    [
        (1, 8, dict(cascade_times=2)),
        (2, 16, dict(cascade_times=3)),
        (3, 8, dict(cascade_times=1, rank=2)),
        (4, 17, dict(cascade_times=2, rank=3, upsample_cfg=CORNERS)),
        (5, 8, dict(cascade_times=2, upsample_cfg=dict(mode="nearest"))),
    ],
)
def test_equals_the_slow_reference(
    num_levels: int, out_channels: int, settings: dict
) -> None:
    neck = build(
        in_channels=WIDTHS[:num_levels],
        out_channels=out_channels,
        num_outs=num_levels + 1,
        weight_channels=24,
        **settings,
    ).double()
    for parameter in neck.parameters():  # biases and affine ones included
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    maps = backbone_maps((37, 50), channels=WIDTHS[:num_levels])
    maps = [x.double().requires_grad_() for x in maps]
    inputs = [*maps, *neck.parameters()]
    found = []
    for outputs in (neck(maps), slow_neck(neck, maps, **settings)):
        loss = sum((o * o.detach().cos()).sum() for o in outputs)
        found.append([*outputs, *torch.autograd.grad(loss, inputs)])
    for ours, slow in zip(*found, strict=True):
        torch.testing.assert_close(ours, slow, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("num_levels", "groups", "width"),
    [(1, 0, 256), (2, 0, 256), (3, 0, 264), (4, 0, 256), (5, 0, 280), (3, 32, 288)],
)
def test_width_of_laterals(num_levels: int, groups: int, width: int) -> None:
    """A multiple of levels, of 8 and of the norm's groups; RepPoints' neck has 32."""
    norm_cfg = dict(type="GN", num_groups=groups) if groups else None
    with torch.device("meta"):
        neck = CFGFPN(
            [8] * num_levels, 256, num_outs=num_levels, rank=2, norm_cfg=norm_cfg
        )
        outputs = neck([torch.empty(1, 8, 9, 9)] * num_levels)
    assert neck.lateral_channels == width
    assert neck.lateral_convs[0].conv.weight.shape == (width, 8, 1, 1)
    assert neck.fpn_convs[0].conv.weight.shape == (256, width, 3, 3)
    assert all(output.shape == (1, 256, 9, 9) for output in outputs)


def test_init_weights_starts_at_the_identity_and_leaves_convs_to_init_cfg() -> None:
    neck = build(out_channels=40, noise=0)
    assert len(neck.grouping.stages) == 3  # by default
    matrix = neck.grouping.stages[2].matrices[1](torch.randn(2, 40, 3, 3))
    assert torch.equal(matrix, torch.eye(40).expand(2, 40, 40))
    weight_conv = neck.grouping.stage_weights[0][1].conv
    for conv in (neck.lateral_convs[0].conv, weight_conv):  # Xavier, uniform
        fans = conv.weight[:, 0].numel() + conv.weight[0].numel()
        assert conv.weight.abs().max() <= math.sqrt(6 / fans)
        assert not conv.bias.any()
    again = build(out_channels=40, noise=0).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in neck.state_dict().items())


@pytest.mark.parametrize("rank", [None, 64, 32, 16])
def test_parameter_table(rank: int | None) -> None:
    counts = []
    for cascade_times in (1, 2, 3):
        with torch.device("meta"):
            neck = CFGFPN(
                [256, 512, 1024, 2048], 256, 5, cascade_times=cascade_times, rank=rank
            )
        counts.append(sum(p.numel() for p in neck.grouping.parameters()))
        fpn = FPN([256, 512, 1024, 2048], 256, 5)
        assert sum(p.numel() for p in neck.parameters()) == counts[-1] + sum(
            p.numel() for p in fpn.parameters()
        )
    rows = [line.split() for line in CFGFPN.__doc__.splitlines()]
    assert [str(rank), *(f"{count:,}" for count in counts)] in rows
