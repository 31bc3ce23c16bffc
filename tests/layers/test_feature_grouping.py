"""Blocks of CFG-FPN; the neck's tests compare all of it with a slow reference."""

import pytest
import torch
from torch import Tensor

from fpn_necks.layers import FeatureGrouping, GroupingMatrix
from tests.layers.slow_feature_grouping import slow_cascade


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
    maps = [torch.randn(2, 24, 64 >> i, 96 >> i).requires_grad_() for i in range(3)]
    plain = saved_bytes(
        lambda: slow_cascade(
            {f"stages.0.{k}": v for k, v in stage.named_parameters()}, maps, 1
        )
    )
    ours = saved_bytes(lambda: stage(maps))
    of_inputs = sum(x.nbytes for x in maps)
    assert ours < 1.2 * of_inputs < plain
