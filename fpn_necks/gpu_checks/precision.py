"""Half precision and other memory layouts against float32."""

from __future__ import annotations

from typing import Any

import torch

from .numeric import (
    at_most,
    compare,
    full_float32,
    output_error,
    place,
    run,
)
from .outcomes import CheckFailed
from .settings import Scale
from .subjects import Subject

LIMITS = {torch.float16: 0.01, torch.bfloat16: 0.05}
"""Largest error of an output, as a share of its largest value."""
LAYOUT_LIMIT = 1e-4
GRADIENT_LIMIT = 1e-3
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def check_autocast(
    subject: Subject, scale: Scale, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """Compare a module under autocast with itself in float32, on the device.

    Raises:
        CheckFailed: an output is further off than ``LIMITS`` allow, or an output or a
            gradient is not finite.
    """
    module = subject.build(scale).to(device)
    with full_float32():
        exact = run(module, place(subject.inputs(scale), device), backward=False)
        with torch.autocast(device.type, dtype):
            found = run(module, place(subject.inputs(scale), device))
    numbers = dict(output_error=output_error(found, exact))
    numbers["lowest"] = str(min((o.dtype for o in found.outputs), key=_bits))
    at_most("the error of an output", numbers["output_error"], LIMITS[dtype], numbers)
    for name, gradient in found.gradients.items():
        if gradient is not None and not gradient.isfinite().all():
            raise CheckFailed(f"the gradient of {name} is not finite", numbers)
    return numbers


def _bits(dtype: torch.dtype) -> int:
    return torch.finfo(dtype).bits


def check_channels_last(
    subject: Subject, scale: Scale, device: torch.device
) -> dict[str, Any]:
    """Compare a module with channels last in memory with itself as usual.

    Raises:
        CheckFailed: an output is further off than ``LAYOUT_LIMIT`` of its largest
            value, or a gradient by more than ``GRADIENT_LIMIT`` of its norm.
    """
    module, inputs = subject.build(scale).to(device), subject.inputs(scale)
    with full_float32():
        usual = run(module, place(inputs, device))
        module = module.to(memory_format=torch.channels_last)
        found = run(module, place(inputs, device, memory_format=torch.channels_last))
    kept = [
        o.is_contiguous(memory_format=torch.channels_last)
        for o in found.outputs
        if o.dim() == 4
    ]
    numbers = dict(outputs_with_channels_last=f"{sum(kept)} of {len(kept)}")
    return compare(found, usual, LAYOUT_LIMIT, GRADIENT_LIMIT, numbers)
