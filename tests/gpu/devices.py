"""Where the tests of this folder run, and how two results are compared.

Each test runs on a CUDA device with the marker ``gpu``, and with a few of its cases on
the processor, so that a machine without a GPU runs the same code. With the environment
variable FPN_NECKS_GPU_TESTS_ON_CPU=1 all cases run there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

ALL_ON_CPU = os.environ.get("FPN_NECKS_GPU_TESTS_ON_CPU") == "1"
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device here"
)
# A gradient below this share of the largest one's norm is compared with that.
SMALLEST_SHARE = 1e-2


def on_devices(
    cases: Collection[Any],
    on_cpu: Collection[str] = (),
    name: Callable[[Any], str] = str,
) -> pytest.MarkDecorator:
    """Parametrise a test: all cases on CUDA, those named also on the processor."""
    parameters = [
        pytest.param("cuda", case, marks=[pytest.mark.gpu, needs_cuda], id=name(case))
        for case in cases
    ]
    parameters += [
        pytest.param("cpu", case, id=f"{name(case)}-cpu")
        for case in cases
        if ALL_ON_CPU or name(case) in on_cpu
    ]
    return pytest.mark.parametrize(("device", "case"), parameters)


@contextmanager
def full_float32() -> Iterator[None]:
    """Switch TF32 off, in which matrix products keep 10 bits of 23."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = False
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def run(
    module: nn.Module, maps: Sequence[Tensor], *arguments: Tensor, backward: bool = True
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return outputs, and gradients by the names of inputs and parameters.

    What is backpropagated is the sum of the outputs with random weights, since a plain
    sum would be blind behind a normalisation. They are drawn on the processor: every
    device gets the same.
    """
    maps = [x.detach().clone().requires_grad_() for x in maps]
    outputs = module(maps, *arguments)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if not backward:
        return [x.detach() for x in outputs], {}
    random = torch.Generator().manual_seed(3)
    module.zero_grad(set_to_none=True)
    weights = [torch.randn(x.shape, generator=random).to(x.device) for x in outputs]
    sum(
        (x.double() * w).sum() for x, w in zip(outputs, weights, strict=True)
    ).backward()
    found = {f"input {i}": x.grad for i, x in enumerate(maps)}
    found |= {key: value.grad for key, value in module.named_parameters()}
    gradients = {
        key.removeprefix("_orig_mod."): value.clone()  # what torch.compile adds
        for key, value in found.items()
        if value is not None
    }
    return [x.detach() for x in outputs], gradients


def assert_close(
    found: tuple[list[Tensor], dict[str, Tensor]],
    expected: tuple[list[Tensor], dict[str, Tensor]],
    outputs: float = 1e-4,
    gradients: float = 1e-3,
) -> None:
    """Compare results of ``run``: errors are shares of the norms, wherever they lie."""
    assert len(found[0]) == len(expected[0])
    for index, (ours, theirs) in enumerate(zip(found[0], expected[0], strict=True)):
        assert ours.shape == theirs.shape
        error = relative_error(ours, theirs)
        assert error <= outputs, f"output {index}: {error:.2g}"
    assert found[1].keys() == expected[1].keys()
    norms = {key: value.double().norm().item() for key, value in expected[1].items()}
    smallest = SMALLEST_SHARE * max(norms.values(), default=0.0)
    for key, theirs in expected[1].items():
        error = relative_error(found[1][key], theirs, smallest)
        assert error <= gradients, f"gradient of {key}: {error:.2g}"


def relative_error(ours: Tensor, theirs: Tensor, smallest: float = 1e-12) -> float:
    """Return the norm of the difference over the expected norm; infinite for NaN."""
    if not ours.isfinite().all():
        return float("inf")
    theirs = theirs.double().cpu()
    difference = (ours.double().cpu() - theirs).norm().item()
    return difference / max(theirs.norm().item(), smallest)
