"""What a module costs without weights and data: parameters and multiply-adds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, trained or frozen."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_multiply_adds(
    module: nn.Module,
    *inputs: Any,
    call: Callable[..., Any] | None = None,
) -> int:
    """Count the multiply-adds of convolutions and matrix products in a forward pass.

    This is what papers call FLOPs: one multiplication with its addition counts once;
    element-wise operations, normalisation and sampling are left out. Nothing is
    computed: a copy of the module runs on the meta device.

    Args:
        module: the module; it is not changed.
        *inputs: its inputs; tensors, also inside lists and tuples, on any device.
        call: what to run on the copy and the inputs; default: the copy itself.

    Raises:
        NotImplementedError: an operation does not exist on the meta device.
    """
    # Deep copies keep buffers and hooks; to_empty moves without copying values.
    twin = copy.deepcopy(module).to_empty(device="meta")
    twin.eval()  # mmdet's backbones return nothing here
    arguments = [_to_meta(value) for value in inputs]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if call is None:
            twin(*arguments)
        else:
            call(twin, *arguments)
    return counter.get_total_flops() // 2


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    if isinstance(value, list | tuple):
        return type(value)(_to_meta(entry) for entry in value)
    return value
