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


def test_saturated_weights_select_one_map() -> None:
    fusion, inputs = build(), maps()
    torch.nn.init.zeros_(fusion.weigh.weight)
    for chosen in range(3):
        with torch.no_grad():
            fusion.weigh.bias.fill_(-1000.0)
            fusion.weigh.bias[chosen] = 1000.0
        assert torch.equal(fusion(inputs), inputs[chosen])


def test_inputs_stay_as_they_are() -> None:
    inputs = maps()
    before = [x.clone() for x in inputs]
    build()(inputs)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))


def test_no_maps_of_the_batch_still_give_gradients() -> None:
    fusion = build()
    fusion(maps(batch=0)).sum().backward()
    assert all(torch.count_nonzero(p.grad) == 0 for p in fusion.parameters())


def test_float64_gradient() -> None:
    fusion = build(2, 3)
    inputs = [x.requires_grad_() for x in maps(2, 1, 3)]
    parameters = list(fusion.parameters())
    assert torch.autograd.gradcheck(
        lambda a, b, *_: fusion([a, b]), (*inputs, *parameters)
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 4), ValueError, "num_maps must be at least 1, got 0"),
        ((2, 0), ValueError, "channels must be at least 1, got 0"),
        ((2.0, 4), TypeError, "num_maps must be an integer, got 2.0"),
    ],
)
def test_wrong_arguments(arguments, error, message: str) -> None:
    with pytest.raises(error, match=message):
        AdaptiveSpatialFusion(*arguments)
    with pytest.raises(ValueError, match="expected 3 maps, got 2"):
        build()(maps(2))
