"""What is kept for the gradients, and what is computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(module: nn.Module, function: Callable[..., Any], *inputs: Any) -> Any:
    """Call a function of a module now, and again in the backward pass.

    What it computes in between is not kept for the gradients. The second call leaves
    the running statistics of the module's batch norms alone.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    statistics = [buffer for norm in norms for buffer in norm.buffers()]
    if not statistics:
        return checkpoint(function, *inputs, use_reentrant=False)

    @contextmanager
    def keeping_statistics() -> Iterator[None]:
        before = [buffer.clone() for buffer in statistics]
        try:
            yield
        finally:
            for buffer, value in zip(statistics, before, strict=True):
                buffer.copy_(value)

    return checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), keeping_statistics()),
    )


def keeps_gradients() -> bool:
    """Tell whether maps are kept; a trace must not depend on the gradient mode."""
    return torch.is_grad_enabled() or torch.jit.is_tracing()
