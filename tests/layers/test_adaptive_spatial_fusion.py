import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fpn_necks.layers import AdaptiveSpatialFusion


def maps(count: int = 3, batch: int = 2, channels: int = 4) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    shape = (batch, channels, 5, 6)
    return [
        torch.randn(shape, generator=random, dtype=torch.double) for _ in range(count)
    ]


def build(count: int = 3, channels: int = 4) -> AdaptiveSpatialFusion:
    torch.manual_seed(1)
    fusion = AdaptiveSpatialFusion(count, channels).double()
    torch.nn.init.constant_(fusion.reduce.bias, 0.5)  # no dead ReLU hides anything
    return fusion


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_equals_the_convolutions_of_the_concatenation(count: int) -> None:
    fusion, inputs = build(count), maps(count)
    hidden = F.relu(fusion.reduce(torch.cat(inputs, 1)))
    weights = torch.sigmoid(fusion.weigh(hidden))
    torch.testing.assert_close(fusion.weights(inputs), weights)
    expected = torch.einsum("nlhw,lnchw->nchw", weights, torch.stack(inputs))
    torch.testing.assert_close(fusion(inputs), expected)


def test_weights_are_sigmoids_and_need_not_sum_to_1() -> None:
    weights = build().weights(maps())
    assert weights.shape == (2, 3, 5, 6)
    assert ((weights > 0) & (weights < 1)).all()
    assert (weights.sum(1) - 1).abs().max() > 0.1


def test_no_maps_of_the_batch_still_give_gradients() -> None:
    fusion = build()
    fusion(maps(batch=0)).sum().backward()
    assert all(torch.count_nonzero(p.grad) == 0 for p in fusion.parameters())
