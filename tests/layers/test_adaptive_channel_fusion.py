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


def test_no_maps_of_the_batch_still_give_gradients() -> None:
    fusion = build()
    fusion(maps(batch=0)).sum().backward()
    assert all(torch.count_nonzero(p.grad) == 0 for p in fusion.parameters())
