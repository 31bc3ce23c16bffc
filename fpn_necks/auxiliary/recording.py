"""Keeping what a detector computes for its own losses: RoIs, predictions, targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def record_outputs(module: nn.Module) -> Iterator[list[Any]]:
    """Collect what a module returns inside the ``with`` block, call by call."""
    outputs: list[Any] = []
    handle = module.register_forward_hook(lambda _module, _inputs, y: outputs.append(y))
    try:
        yield outputs
    finally:
        handle.remove()


@contextmanager
def record_inputs(module: nn.Module) -> Iterator[list[Any]]:
    """Collect the first input of a module inside the ``with`` block, call by call."""
    inputs: list[Any] = []
    handle = module.register_forward_pre_hook(lambda _module, x: inputs.append(x[0]))
    try:
        yield inputs
    finally:
        handle.remove()


@contextmanager
def record_calls(owner: Any, method: str) -> Iterator[list[Any]]:
    """Collect what a method of one object returns inside the ``with`` block.

    What a hook is to ``forward`` this is to the methods that have none, such as
    ``get_targets`` of a head and ``sample`` of a sampler. Tensors are copied, because
    some losses (FSAF) change their targets in place.
    """
    results: list[Any] = []
    original = getattr(owner, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        results.append(_copied(result))
        return result

    with answering(owner, method, call):
        yield results


@contextmanager
def answering(owner: Any, method: str, function: Callable) -> Iterator[None]:
    """Let a function answer calls of one object's method inside the ``with`` block."""
    previous = vars(owner).get(method)
    setattr(owner, method, function)
    try:
        yield
    finally:
        delattr(owner, method)
        if previous is not None:
            setattr(owner, method, previous)


def replaying(head: nn.Module, targets: tuple) -> Any:
    """Give a dense head targets that another one has computed, in a ``with`` block."""
    return answering(head, "get_targets", lambda *_, **__: _copied(targets))


def targets_of_levels(
    targets: tuple, levels: Sequence[int], number: int, head: str
) -> tuple:
    """Take some of a number of levels from what a dense head's get_targets returned.

    What is no list of levels, such as the number of positives, stays as it is.
    """
    if list(levels) == list(range(number)):
        return targets
    per_level = [isinstance(x, list) and len(x) == number for x in targets]
    if not any(per_level):
        raise ValueError(
            f"strides must be None for {head}, whose targets are not one per stride"
        )
    return tuple(
        [part[i] for i in levels] if is_list else part
        for part, is_list in zip(targets, per_level, strict=True)
    )


def _copied(result: Any) -> Any:
    """Copy the tensors of nested lists and tuples; other objects stay."""
    if isinstance(result, list | tuple):
        return type(result)([_copied(part) for part in result])
    return result.clone() if isinstance(result, Tensor) else result
