import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpn_necks.layers import AdaptiveChannelFusion, AdaptiveSpatialFusion


def maps(count: int = 3, batch: int = 2) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    shape = (batch, 4, 5, 6)
    return [
        torch.randn(shape, generator=random, dtype=torch.double) for _ in range(count)
    ]


def build(kind: type[nn.Module], count: int = 3) -> nn.Module:
    torch.manual_seed(1)
    fusion = kind(count, 4).double()
    nn.init.constant_(fusion.reduce.bias, 0.5)  # no dead ReLU hides anything
    return fusion


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_spatial_fusion_equals_the_convolutions_of_the_concatenation(
    count: int,
) -> None:
    fusion, inputs = build(AdaptiveSpatialFusion, count), maps(count)
    hidden = F.relu(fusion.reduce(torch.cat(inputs, 1)))
    weights = torch.sigmoid(fusion.weigh(hidden))
    torch.testing.assert_close(fusion.weights(inputs), weights)
    expected = torch.einsum("nlhw,lnchw->nchw", weights, torch.stack(inputs))
    torch.testing.assert_close(fusion(inputs), expected)


def test_channel_fusion_is_the_sum_weighted_by_map_and_channel() -> None:
    fusion, inputs = build(AdaptiveChannelFusion), maps()
    weights = fusion.weights(inputs)
    assert weights.shape == (2, 3, 4)
    assert ((weights > 0) & (weights < 1)).all()
    assert len(weights.unique()) == 2 * 3 * 4
    expected = torch.einsum("nlc,lnchw->nchw", weights, torch.stack(inputs))
    torch.testing.assert_close(fusion(inputs), expected)
