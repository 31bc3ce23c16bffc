import math

import pytest
import torch
from torch import Tensor, nn

from fpn_necks.necks import ASFF
from tests.neck_cases import backbone_maps

WIDTHS = [6, 8, 10, 12, 14]


def pyramid() -> list[Tensor]:
    return backbone_maps((61, 47), channels=WIDTHS)


def build(num_fused: int = 3, **changes) -> ASFF:
    torch.manual_seed(0)
    arguments = dict(in_channels=WIDTHS[:num_fused], out_channels=4)
    neck = ASFF(**{**arguments, "num_fused": num_fused, **changes})
    neck.init_weights()
    return neck


@pytest.mark.parametrize("num_fused", [2, 3, 5])
@pytest.mark.parametrize("order", ["fine_to_coarse", "coarse_to_fine"])
@pytest.mark.parametrize("weights", ["compressed", "direct"])
def test_the_finest_levels_are_fused(num_fused: int, order: str, weights: str) -> None:
    """By the weights that ``weight_maps`` returns; the other levels pass through."""
    maps, outs = pyramid(), [3, 5, 7, 9, 11][:num_fused]
    sign = 1 if order == "fine_to_coarse" else -1
    neck = build(
        num_fused,
        order=order,
        weights=weights,
        in_channels=WIDTHS[:num_fused][::sign],
        out_channels=outs[::sign],
    ).eval()
    used: list[Tensor] = []
    for fusion in neck.fusions:
        fusion.scores.register_forward_hook(lambda _, x, y: used.append(y))
    results = neck(maps[::sign])[::sign]
    used = used[::sign]
    found = neck.weight_maps(maps[::sign])[::sign]
    assert len(results) == 5 and len(found) == num_fused
    assert all(
        a is b for a, b in zip(results[num_fused:], maps[num_fused:], strict=True)
    )
    for i, (result, weight) in enumerate(zip(results, found, strict=False)):
        assert result.shape == (2, outs[i], *maps[i].shape[2:])
        assert weight.shape == (2, num_fused, *maps[i].shape[2:])
        torch.testing.assert_close(weight.sum(1), torch.ones(2, *maps[i].shape[2:]))
        assert torch.equal(weight, used[i].softmax(1))


def test_lead_convs_come_before_everything() -> None:
    neck = build(lead_channels=[None, 9, None])
    maps = pyramid()
    calls = []
    neck.lead_convs[1].register_forward_hook(lambda _, x, y: calls.append(y))
    neck(maps)
    assert len(calls) == 1, "the conv is shared by all fused levels"
    direct = build(in_channels=[WIDTHS[0], 9, WIDTHS[2]])
    direct.fusions.load_state_dict(neck.fusions.state_dict())
    expected = direct.eval()([maps[0], neck.eval().lead_convs[1](maps[1]), *maps[2:]])
    assert all(map(torch.equal, neck(maps), expected))
    led = [maps[0], neck.lead_convs[1](maps[1]), maps[2]]
    assert all(map(torch.equal, neck.weight_maps(maps), direct.weight_maps(led)))


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
