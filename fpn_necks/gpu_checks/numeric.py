"""Calls of modules with gradients, and how far two results are apart."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .outcomes import CheckFailed

SMALLEST_SHARE = 1e-2
"""Below this share of the largest gradient's norm, a gradient is compared with it."""


@dataclass(frozen=True)
class Result:
    """What a module computes.

    Args:
        outputs: in order.
        gradients: of inputs (``input 0`` and on) and parameters, by name; ``None``
            where there is none.
    """

    outputs: tuple[Tensor, ...]
    gradients: dict[str, Tensor | None]


@contextmanager
def full_float32() -> Iterator[None]:
    """Switch TF32 off, in which matrix products keep 10 bits of 23."""
    with tensor_float(False):
        yield


@contextmanager
def tensor_float(allowed: bool) -> Iterator[None]:
    """Allow TF32 in convolutions and matrix products, or forbid it, for a while."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch has other names beside these
        for place in places:
            place.allow_tf32 = allowed
        try:
            yield
        finally:
            for place, value in zip(places, before, strict=True):
                place.allow_tf32 = value


def place(
    inputs: Sequence[Any],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.preserve_format,
) -> tuple[Any, ...]:
    """Copy a call's arguments to a device; the maps become leaves with gradients."""
    maps = [
        x.to(device, dtype, copy=True, memory_format=memory_format)
        .detach()
        .requires_grad_()
        for x in inputs[0]
    ]
    return (maps, *(x.to(device, dtype) for x in inputs[1:]))


def run(module: nn.Module, inputs: tuple[Any, ...], backward: bool = True) -> Result:
    """Call a module, and backpropagate the sum of its outputs with random weights.

    A plain sum would be blind behind a normalisation. The weights are drawn on the
    processor: every device gets the same.
    """
    outputs = module(*inputs)
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    gradients: dict[str, Tensor | None] = {}
    if backward:
        module.zero_grad(set_to_none=True)
        total = sum(
            (o.double() * weights).sum()
            for o, weights in zip(outputs, _cotangents(outputs), strict=True)
        )
        total.backward()
        gradients = {f"input {i}": x.grad for i, x in enumerate(inputs[0])}
        gradients |= {name: p.grad for name, p in module.named_parameters()}
    return Result(
        tuple(o.detach() for o in outputs),
        {k: None if g is None else g.detach().clone() for k, g in gradients.items()},
    )


def _cotangents(outputs: Sequence[Tensor]) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    return [
        torch.randn(o.shape, generator=random, dtype=torch.double).to(o.device)
        for o in outputs
    ]


def twin(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Copy a module to a device and a type of numbers."""
    return copy.deepcopy(module).to(device, dtype)


def output_error(found: Result, expected: Result) -> float:
    """Return the largest error, as a share of each output's largest value.

    Raises:
        CheckFailed: number or shapes of the outputs differ, or one is not finite.
    """
    if len(found.outputs) != len(expected.outputs):
        raise CheckFailed(
            f"{len(found.outputs)} outputs instead of {len(expected.outputs)}"
        )
    errors = [0.0]
    for number, (ours, theirs) in enumerate(
        zip(found.outputs, expected.outputs, strict=True)
    ):
        if ours.shape != theirs.shape:
            raise CheckFailed(
                f"output {number} has the shape {tuple(ours.shape)} instead of "
                f"{tuple(theirs.shape)}"
            )
        if not ours.isfinite().all():
            raise CheckFailed(f"output {number} is not finite")
        ours, theirs = ours.cpu().double(), theirs.cpu().double()
        largest = theirs.abs().max().clamp(min=1e-12)
        errors.append(((ours - theirs).abs().max() / largest).item())
    return max(errors)


def gradient_error(found: Result, expected: Result) -> tuple[float, str]:
    """Return the largest error of a gradient by its norm, and which one it is.

    The error is a share of the gradient's norm; where that is below ``SMALLEST_SHARE``
    of the largest gradient's, a share of that, since rounding is all that is there.

    Raises:
        CheckFailed: a gradient is not finite, or there only in one of the two.
    """
    norms = {
        name: g.double().norm().item()
        for name, g in expected.gradients.items()
        if g is not None
    }
    floor = SMALLEST_SHARE * max(norms.values(), default=0.0)
    worst, where = 0.0, "none"
    for name, theirs in expected.gradients.items():
        ours = found.gradients.get(name)
        if (ours is None) != (theirs is None):
            raise CheckFailed(
                f"the gradient of {name} is {'missing' if ours is None else 'new'}"
            )
        if ours is None:
            continue
        if not ours.isfinite().all():
            raise CheckFailed(f"the gradient of {name} is not finite")
        difference = (ours.cpu().double() - theirs.cpu().double()).norm().item()
        error = difference / max(norms[name], floor, 1e-30)
        if error > worst:
            worst, where = error, name
    return worst, where


def at_most(name: str, value: float, limit: float, numbers: dict[str, Any]) -> None:
    """Raise ``CheckFailed`` where a number is above its limit, or is no number."""
    if not value <= limit:
        raise CheckFailed(f"{name} is {value:.2g}, allowed are {limit:.2g}", numbers)


def compare(
    found: Result,
    expected: Result,
    output_limit: float,
    gradient_limit: float,
    numbers: dict[str, Any],
) -> dict[str, Any]:
    """Hold the largest errors of outputs and gradients to their limits.

    Returns:
        ``numbers`` with ``output_error`` and ``gradient_error``.

    Raises:
        CheckFailed: an error is above its limit; see also ``output_error`` and
            ``gradient_error``.
    """
    numbers = numbers | dict(output_error=output_error(found, expected))
    numbers["gradient_error"], where = gradient_error(found, expected)
    at_most("the error of an output", numbers["output_error"], output_limit, numbers)
    at_most(
        f"the error of the gradient of {where}",
        numbers["gradient_error"],
        gradient_limit,
        numbers,
    )
    return numbers
