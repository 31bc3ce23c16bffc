"""``torch.compile`` on the device: the same results, whole graphs, few compilations."""

from __future__ import annotations

from typing import Any

import torch
from torch._dynamo.testing import CompileCounterWithBackend

from .numeric import (
    Result,
    at_most,
    full_float32,
    gradient_error,
    output_error,
    place,
    run,
)
from .outcomes import CheckFailed
from .settings import Scale
from .subjects import Subject

OUTPUT_LIMIT = 1e-4
GRADIENT_LIMIT = 1e-3
MOST_COMPILATIONS = 2
"""For two sizes of images: the second may need its own, with sizes as variables."""


def check_compiled(
    subject: Subject, scale: Scale, device: torch.device
) -> dict[str, Any]:
    """Compare a compiled module with itself, at two sizes of images.

    Outputs and gradients at the first size, outputs at the second. No graph break is
    allowed.

    Raises:
        CheckFailed: a result differs by more than ``OUTPUT_LIMIT`` or
            ``GRADIENT_LIMIT``, or there were more compilations than
            ``MOST_COMPILATIONS``.
        Exception: whatever the compiler raises, at a graph break for example.
    """
    torch.compiler.reset()
    counter = CompileCounterWithBackend(scale.compiler)
    # In one mode, since each has its own graphs.
    module = subject.build(scale).to(device).eval()
    compiled = torch.compile(module, backend=counter, fullgraph=True)
    height, width = scale.size
    other = (height + 64, width + 96)
    numbers: dict[str, Any] = dict(backend=scale.compiler)
    try:
        with full_float32():
            expected = run(module, place(subject.inputs(scale), device))
            found = run(compiled, place(subject.inputs(scale), device))
            found = _with_own_names(found)
            numbers["output_error"] = output_error(found, expected)
            numbers["gradient_error"], where = gradient_error(found, expected)
            inputs = place(subject.inputs(scale, other), device)
            second = run(compiled, inputs, backward=False)
            expected = run(module, inputs, backward=False)
            numbers["second_size_error"] = output_error(second, expected)
    finally:
        numbers["compilations"] = counter.frame_count
        torch.compiler.reset()
    for name in ("output_error", "second_size_error"):
        at_most(f"the {name.replace('_', ' ')}", numbers[name], OUTPUT_LIMIT, numbers)
    at_most(
        f"the error of the gradient of {where}",
        numbers["gradient_error"],
        GRADIENT_LIMIT,
        numbers,
    )
    if not 1 <= counter.frame_count <= MOST_COMPILATIONS:
        raise CheckFailed(
            f"{counter.frame_count} compilations for two sizes, expected are 1 to "
            f"{MOST_COMPILATIONS}",
            numbers,
        )
    return numbers


def _with_own_names(result: Result) -> Result:
    # torch.compile wraps a module, and puts its own name before all others.
    gradients = {k.removeprefix("_orig_mod."): g for k, g in result.gradients.items()}
    return Result(result.outputs, gradients)
