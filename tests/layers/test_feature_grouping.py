import pytest
import torch
from torch import Tensor, nn

from fpn_necks.layers import (
    CascadeFeatureGrouping,
    FeatureGrouping,
    GroupingMatrix,
)
from tests.layers.slow_feature_grouping import slow_cascade

SIZES = [(19, 26), (10, 13), (5, 7), (3, 4), (1, 2)]


def random_maps(
    num_levels: int, channels: int, sizes=SIZES, batch: int = 2, **options
) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, channels, *size, generator=random, dtype=torch.double)
        .to(**options)
        .requires_grad_()
        for size in sizes[:num_levels]
    ]


def randomise(module: nn.Module) -> nn.Module:
    """Give every parameter, biases and affine ones included, values of their own."""
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=random, dtype=torch.double)
            parameter.add_(0.1 * noise)
    return module


def gradients(outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    cotangents = [
        torch.randn(o.shape, generator=random, dtype=o.dtype) for o in outputs
    ]
    loss = sum((o * c).sum() for o, c in zip(outputs, cotangents, strict=True))
    return list(torch.autograd.grad(loss, inputs))


@pytest.mark.parametrize(
    ("num_levels", "channels", "hidden", "rank", "cascade_times"),
    [
        (1, 8, 8, None, 2),
        (2, 8, 7, 1, 1),
        (3, 18, 16, None, 3),
        (4, 16, 16, 3, 2),
        (5, 20, 17, 3, 1),
    ],
)
def test_equals_the_slow_reference(
    num_levels: int, channels: int, hidden: int, rank: int | None, cascade_times: int
) -> None:
    grouping = CascadeFeatureGrouping(
        num_levels, channels, hidden, cascade_times, rank, weight_channels=24
    ).double()
    randomise(grouping)
    maps = random_maps(num_levels, channels)
    weights = dict(grouping.named_parameters())
    ours = grouping(maps)
    slow = slow_cascade(weights, maps, cascade_times, rank)
    inputs = [*maps, *weights.values()]
    assert [o.shape for o in ours] == [m.shape for m in maps]
    for a, b in zip(ours, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    for a, b in zip(gradients(ours, inputs), gradients(slow, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("noise", [0.01, 0.1])
@pytest.mark.parametrize("rank", [None, 2, 48])
def test_matrix_starts_at_identity_plus_noise(rank: int | None, noise: float) -> None:
    torch.manual_seed(0)
    matrix = GroupingMatrix(64, 256, rank, noise)(torch.randn(8, 64, 5, 5))
    around = matrix - torch.eye(64)
    assert around.mean().abs() < noise / 10
    assert around.std().item() == pytest.approx(noise, rel=0.15)
    assert (around[0] - around[1]).abs().max() > noise  # one matrix per image


def saved_bytes(function) -> int:
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = function()
    del outputs
    return sum(size for size, _ in storages.values())


def test_keeps_little_more_than_its_input_for_the_backward_pass() -> None:
    """The pooling operator would keep X_k as well."""
    stage = FeatureGrouping(3, 24, 8)
    maps = random_maps(3, 24, sizes=[(64, 96), (32, 48), (16, 24)], dtype=torch.float)
    plain = saved_bytes(
        lambda: slow_cascade(
            {f"stages.0.{k}": v for k, v in stage.named_parameters()}, maps, 1
        )
    )
    ours = saved_bytes(lambda: stage(maps))
    of_inputs = sum(x.nbytes for x in maps)
    assert ours < 1.2 * of_inputs < plain
