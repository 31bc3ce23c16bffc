import torch
from torch import Tensor

from fpn_necks.layers import AdaptiveChannelFusion


def maps(count: int = 3, batch: int = 2, channels: int = 4) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    shape = (batch, channels, 5, 6)
    return [
        torch.randn(shape, generator=random, dtype=torch.double) for _ in range(count)
    ]


def build(count: int = 3, channels: int = 4) -> AdaptiveChannelFusion:
    torch.manual_seed(1)
    fusion = AdaptiveChannelFusion(count, channels).double()
    torch.nn.init.constant_(fusion.reduce.bias, 0.5)  # no dead ReLU hides anything
    return fusion


def test_result_is_the_sum_weighted_by_map_and_channel() -> None:
    fusion, inputs = build(), maps()
    weights = fusion.weights(inputs)
    assert weights.shape == (2, 3, 4)
    assert ((weights > 0) & (weights < 1)).all()
    assert len(weights.unique()) == 2 * 3 * 4
    expected = torch.einsum("nlc,lnchw->nchw", weights, torch.stack(inputs))
    torch.testing.assert_close(fusion(inputs), expected)


def test_weights_depend_on_averages_of_all_maps_only() -> None:
    fusion, inputs = build(), maps()
    weights = fusion.weights(inputs)
    mirrored = [x.flip(2, 3) for x in inputs]
    torch.testing.assert_close(fusion.weights(mirrored), weights)
    changed = [*inputs[:2], inputs[2] + 1]
    assert (fusion.weights(changed) - weights).abs().amin((0, 2)).min() > 1e-6


def test_parameters_at_the_width_of_the_paper() -> None:
    # 1024 to 256 and back
    count = sum(p.numel() for p in AdaptiveChannelFusion(4, 256).parameters())
    assert count == 2 * 1024 * 256 + 256 + 1024


def test_saturated_weights_select_channels() -> None:
    fusion, inputs = build(2), maps(2)
    torch.nn.init.zeros_(fusion.weigh.weight)
    chosen = torch.tensor([0, 1, 1, 0])
    on = torch.stack([chosen == 0, chosen == 1]).flatten()
    with torch.no_grad():
        fusion.weigh.bias.copy_(on * 2000.0 - 1000.0)
    expected = torch.where(chosen[:, None, None] == 0, inputs[0], inputs[1])
    assert torch.equal(fusion(inputs), expected)


def test_no_maps_of_the_batch_still_give_gradients() -> None:
    fusion = build()
    fusion(maps(batch=0)).sum().backward()
    assert all(torch.count_nonzero(p.grad) == 0 for p in fusion.parameters())
