import math

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.hub import get_config
from torch import Tensor, nn

import fpn_necks  # noqa: F401
from fpn_necks.necks import ASFF

WIDTHS = [6, 8, 10, 12, 14]


def pyramid(
    size: tuple[int, int] = (61, 47), levels: int = 5, widths=WIDTHS, batch: int = 2
) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            batch,
            widths[i],
            *(math.ceil(side / 2**i) for side in size),
            generator=random,
        )
        for i in range(levels)
    ]


def build(num_fused: int = 3, **changes) -> ASFF:
    torch.manual_seed(0)
    arguments = dict(in_channels=WIDTHS[:num_fused], out_channels=4)
    neck = ASFF(**{**arguments, "num_fused": num_fused, **changes})
    neck.init_weights()
    return neck


@pytest.mark.parametrize("num_fused", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["fine_to_coarse", "coarse_to_fine"])
def test_the_finest_levels_are_fused(num_fused: int, order: str) -> None:
    maps = pyramid()
    widths, outs = WIDTHS[:num_fused], [3, 5, 7, 9, 11][:num_fused]
    sign = 1 if order == "fine_to_coarse" else -1
    neck = build(
        num_fused,
        order=order,
        in_channels=widths[::sign],
        out_channels=outs[::sign],
    )
    results = neck(maps[::sign])[::sign]
    assert len(results) == 5
    for i, (result, x) in enumerate(zip(results, maps, strict=True)):
        if i < num_fused:
            assert result.shape == (2, outs[i], *x.shape[2:])
        else:
            assert result is x, "P6 and P7 pass through"


def test_order_is_a_matter_of_indices_alone() -> None:
    maps = pyramid()
    forward = build(lead_channels=[7, None, 9])
    backward = build(
        in_channels=WIDTHS[2::-1], order="coarse_to_fine", lead_channels=[9, None, 7]
    )

    def turned(key: str) -> str:
        """Number the levels from the other end."""
        parts = key.split(".")
        for i in range(1, len(parts)):
            if parts[i - 1] in ("lead_convs", "fusions", "convs", "compress"):
                parts[i] = str(2 - int(parts[i]))
        return ".".join(parts)

    state = {turned(key): value for key, value in forward.state_dict().items()}
    for key, value in state.items():
        if ".score." in key:  # rows and, in three blocks of 16, columns are levels
            value = value.flip(0)
            if key.endswith("weight"):
                value = torch.cat(value.split(16, dim=1)[::-1], dim=1)
            state[key] = value
    backward.load_state_dict(state)
    pairs = zip(forward(maps), backward(maps[::-1])[::-1], strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("num_fused", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["fine_to_coarse", "coarse_to_fine"])
@pytest.mark.parametrize("weights", ["compressed", "direct"])
def test_weight_maps(num_fused: int, order: str, weights: str) -> None:
    maps = pyramid()
    sign = 1 if order == "fine_to_coarse" else -1
    neck = build(
        num_fused, order=order, weights=weights, in_channels=WIDTHS[:num_fused][::sign]
    ).eval()
    found = neck.weight_maps(maps[::sign])
    fused = maps[:num_fused][::sign]
    assert len(found) == num_fused
    for weight, x in zip(found, fused, strict=True):
        assert weight.shape == (2, num_fused, *x.shape[2:])
        torch.testing.assert_close(weight.sum(1), torch.ones(2, *x.shape[2:]))
    # They are those of the forward pass.
    used = []
    for fusion in neck.fusions:
        fusion.scores.register_forward_hook(lambda _, x, y: used.append(y))
    neck(maps[::sign])
    for weight, scores in zip(found, used, strict=True):
        assert torch.equal(weight, scores.softmax(1))


def test_lead_convs_come_before_everything() -> None:
    neck = build(lead_channels=[None, 9, None])
    maps = pyramid()
    lead = neck.lead_convs[1]
    assert lead.conv.kernel_size == (3, 3) and lead.conv.in_channels == WIDTHS[1]
    assert neck.fusions[1].expand.conv.in_channels == 9
    calls = []
    lead.register_forward_hook(lambda _, x, y: calls.append(y))
    neck(maps)
    assert len(calls) == 1, "the conv is shared by all fused levels"
    direct = build(in_channels=[WIDTHS[0], 9, WIDTHS[2]])
    direct.fusions.load_state_dict(neck.fusions.state_dict())
    expected = direct.eval()([maps[0], neck.eval().lead_convs[1](maps[1]), *maps[2:]])
    assert all(map(torch.equal, neck(maps), expected))
    led = [maps[0], neck.lead_convs[1](maps[1]), maps[2]]
    assert all(map(torch.equal, neck.weight_maps(maps), direct.weight_maps(led)))


def test_default_blocks_are_the_released_ones() -> None:
    neck = build()
    norms = [m for m in neck.modules() if isinstance(m, nn.BatchNorm2d)]
    activations = [m for m in neck.modules() if isinstance(m, nn.LeakyReLU)]
    assert len(norms) == len(activations) == 3 * (2 + 3 + 1)
    assert {m.negative_slope for m in activations} == {0.1}
    biased = [n for n, _ in neck.named_parameters() if n.endswith("score.bias")]
    assert len(biased) == 3


def test_initialisation_is_that_of_the_paper() -> None:
    """He et al. for LeakyReLU(0.1), by the inputs of each conv; no bias."""
    neck = build(in_channels=64, out_channels=32)
    for name, module in neck.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10000:
            fan_in = module.weight[0].numel()
            expected = math.sqrt(2 / (1 + 0.1**2) / fan_in)
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05), name
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            assert not module.bias.any()


@pytest.mark.parametrize("first", ["FPN", "PAFPN", "SAlphaFPN"])
def test_behind_other_necks(first: str) -> None:
    """RetinaNet: P3, P4 and P5 are fused, P6 and P7 are the first neck's."""
    register_all_modules()
    config = get_config("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py").model
    config.backbone.update(depth=18, base_channels=8, init_cfg=None)
    config.neck.update(type=first, in_channels=[8, 16, 32, 64], out_channels=16)
    config.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1)
    if first == "SAlphaFPN":
        config.neck.fusion_factor = 0.5
    config.neck = [config.neck, dict(type="ASFF", in_channels=16, out_channels=16)]
    model = MODELS.build(config)
    model.init_weights()
    images = torch.rand(2, 3, 128, 160)
    before = model.neck[0](model.backbone(images))
    after = model.neck[1](before)
    assert [x.shape for x in after] == [x.shape for x in before]
    assert [a is b for a, b in zip(after, before, strict=True)] == [False] * 3 + [
        True
    ] * 2
    data = demo_mm_inputs(2, [[3, 128, 160]] * 2, num_classes=80)
    losses = model(**model.data_preprocessor(data, True), mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.neck.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
