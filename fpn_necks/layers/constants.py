"""Tensors that depend on sizes alone, made once instead of at every call."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def made_once(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep what ``make(*arguments, dtype, device)`` returns, the last 128 of it.

    The result is called as ``f(like, *arguments)`` and takes dtype and device from the
    tensor ``like``. Nobody may change what it returns. While a graph is compiled or
    exported, tensors are no numbers and nothing is kept.
    """
    # A tensor made in inference mode could not be used in training later.
    kept = functools.lru_cache(maxsize=128)(torch.inference_mode(False)(make))

    def get(like: Tensor, *arguments: int) -> Tensor:
        if type(like) is Tensor and not in_graph():
            return kept(*arguments, like.dtype, like.device)
        return make(*arguments, like.dtype, like.device)

    return get


def in_graph() -> bool:
    """Tell whether a graph is traced or compiled, in which tensors are no numbers."""
    # Before 2.3 torch cannot be asked; there compiling ends the graph here.
    is_compiling = getattr(torch.compiler, "is_compiling", bool)
    return torch.jit.is_tracing() or is_compiling()
