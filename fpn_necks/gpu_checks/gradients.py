"""Gradients on the device: all there, and those of float64 equal to differences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .numeric import place, run
from .outcomes import CheckFailed
from .settings import GRADCHECK, Scale
from .subjects import Subject

NONDETERMINISM = 1e-9
"""In float64: GPUs add the gradients of sampled and pooled maps in any order."""


def check_parameters(
    subject: Subject, scale: Scale, device: torch.device
) -> dict[str, Any]:
    """Check that every parameter gets a gradient that is finite and not zero.

    Raises:
        CheckFailed: one does not; all of them are named.
    """
    module = subject.build(scale).to(device)
    result = run(module, place(subject.inputs(scale), device))
    faults = [
        f"{name}: {fault}"
        for name, _ in module.named_parameters()
        if (fault := _fault(result.gradients[name]))
    ]
    if not any(g is not None for n, g in result.gradients.items() if "input" in n):
        faults.append("no input has a gradient")
    if faults:
        raise CheckFailed("; ".join(faults))
    return dict(parameters=sum(1 for _ in module.parameters()))


def _fault(gradient: Tensor | None) -> str:
    if gradient is None:
        return "no gradient"
    if not gradient.isfinite().all():
        return "not finite"
    return "" if gradient.abs().sum() > 0 else "zero"


def check_differences(
    subject: Subject, device: torch.device, scale: Scale = GRADCHECK
) -> dict[str, Any]:
    """Compare gradients in float64 with differences: ``torch.autograd.gradcheck``.

    Of maps and parameters, in evaluation mode.

    Args:
        subject: what is checked.
        device: where.
        scale: narrow widths and small maps.

    Raises:
        CheckFailed: they differ by more than PyTorch's own tolerances (1e-3 relative,
            1e-5 absolute).
    """
    module = subject.build(scale).to(device, torch.float64).eval()
    inputs = place(subject.inputs(scale), device, torch.float64)
    maps, rest = inputs[0], inputs[1:]
    parameters = dict(module.named_parameters())

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(parameters, values[len(maps) :], strict=True))
        call = (list(values[: len(maps)]), *rest)
        outputs = torch.func.functional_call(module, named, call)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)

    try:
        torch.autograd.gradcheck(
            function,
            (*maps, *parameters.values()),
            fast_mode=True,
            nondet_tol=NONDETERMINISM,
        )
    except RuntimeError as error:
        if "Jacobian" not in str(error) and "eentrant" not in str(error):
            raise
        raise CheckFailed(" ".join(str(error).split())) from error
    return dict(parameters=len(parameters))
