from typing import Any

import pytest
import torch
from torch import nn

from fpn_necks.auxiliary.recording import (
    record_calls,
    record_inputs,
    record_outputs,
    replaying,
    targets_of_levels,
)


def test_outputs_and_inputs_of_a_module() -> None:
    layer, x = nn.Linear(2, 3), torch.rand(4, 2)
    with record_outputs(layer) as outputs, record_inputs(layer) as inputs:
        y = layer(x)
        layer(2 * x)
    layer(x)
    assert len(outputs) == len(inputs) == 2
    assert outputs[0] is y and inputs[0] is x
    for record in (record_outputs, record_inputs):
        with pytest.raises(RuntimeError, match="inside"), record(layer):
            raise RuntimeError("inside")
    assert not layer._forward_hooks and not layer._forward_pre_hooks


class TargetHead(nn.Module):
    """Computes targets of three levels for two images."""

    def get_targets(self, offset: float = 0.0) -> tuple[Any, ...]:
        labels = [offset + torch.arange(2.0 * (i + 1)).reshape(2, -1) for i in range(3)]
        weights = [torch.ones(2, i + 1) for i in range(3)]
        return labels, weights, 7, ["image 0", "image 1"]


def test_calls_are_recorded_inside_the_block_alone() -> None:
    head = TargetHead()
    with pytest.raises(RuntimeError, match="inside"):
        with record_calls(head, "get_targets") as kept:
            targets = head.get_targets(offset=2.0)
            # FSAF's loss changes its targets.
            targets[0][1] = targets[0][1].flatten()
            targets[1][0][:] = 9
            raise RuntimeError("inside")
    assert "get_targets" not in vars(head) and len(kept) == 1
    assert kept[0][0][1].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert kept[0][1][0].tolist() == [[1.0], [1.0]]
    assert kept[0][2:] == (7, ["image 0", "image 1"])
    # A method that another has replaced is put back.
    head.get_targets = lambda: ("others",)
    with record_calls(head, "get_targets") as kept:
        head.get_targets()
    assert kept == [("others",)] and head.get_targets() == ("others",)


def test_replaying() -> None:
    """What one head does to the targets is not seen by the next."""
    head, targets = TargetHead(), TargetHead().get_targets()
    with replaying(head, targets):
        labels, _, number, images = head.get_targets("anything", some="thing")
        assert number == 7 and images == ["image 0", "image 1"]
        labels[0][:] = 9
        assert torch.equal(head.get_targets()[0][0], targets[0][0])
        assert not (targets[0][0] == 9).any()


def test_targets_of_levels() -> None:
    targets = TargetHead().get_targets()
    assert targets_of_levels(targets, [0, 1, 2], 3, "AHead") is targets
    labels, weights, number, images = targets_of_levels(targets, [1, 2], 3, "AHead")
    assert labels[0] is targets[0][1] and weights[1] is targets[1][2]
    assert number == 7 and images == ["image 0", "image 1"]
    # FoveaBox has one tensor for all levels, PAA a list of images.
    for targets in ((torch.arange(5),), ([torch.arange(5)] * 2, 3)):
        assert targets_of_levels(targets, [0, 1, 2], 3, "AHead") is targets
        with pytest.raises(ValueError, match="strides must be None for AHead"):
            targets_of_levels(targets, [1], 3, "AHead")
