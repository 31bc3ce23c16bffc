"""Keeping what a detector computes for its own losses: RoIs, predictions, targets."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import TASK_UTILS
from torch import Tensor, nn


@TASK_UTILS.register_module()
class RecordingSampler:
    """A sampler that can keep what another one samples.

    Args:
        sampler: config of the sampler that does the work.
        **defaults: passed on to it, such as mmdet's ``context``.
    """

    def __init__(self, sampler: Mapping[str, Any], **defaults: Any) -> None:
        self.sampler = TASK_UTILS.build(sampler, default_args=defaults)
        self._kept: list[SamplingResult] | None = None

    def sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        """Do what the other sampler does."""
        result = self.sampler.sample(*args, **kwargs)
        if self._kept is not None:
            # PISA's sampler returns weights of the negatives beside it.
            self._kept.append(result[0] if isinstance(result, tuple) else result)
        return result

    def __getattr__(self, name: str) -> Any:
        # Asked for what this class does not have: it is the other sampler's.
        if name.startswith("__") or "sampler" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.sampler, name)

    @contextmanager
    def recording(self) -> Iterator[list[SamplingResult]]:
        """Collect the results of the ``with`` block, one per image."""
        self._kept = []
        try:
            yield self._kept
        finally:
            self._kept = None


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


class _TargetRecorder:
    """Put before a dense head's class: keeps what its ``get_targets`` returns."""

    _kept: list[tuple] | None = None

    def __reduce__(self) -> tuple:
        return _new_head, (recording_targets_of, type(self).__mro__[2]), self.__dict__

    def get_targets(self, *args: Any, **kwargs: Any) -> tuple:
        """Do what the head does."""
        targets = super().get_targets(*args, **kwargs)  # type: ignore[misc]
        if self._kept is not None:
            # FSAF's loss changes its targets in place.
            self._kept.append(_copied(targets))
        return targets

    @contextmanager
    def recording_targets(self) -> Iterator[list[tuple]]:
        """Collect the targets of the ``with`` block."""
        self._kept = []
        try:
            yield self._kept
        finally:
            self._kept = None


class _TargetReplayer:
    """Put before a dense head's class: takes its targets from another head."""

    _given: tuple | None = None

    def __reduce__(self) -> tuple:
        return _new_head, (replaying_targets_of, type(self).__mro__[2]), self.__dict__

    def get_targets(self, *_args: Any, **_kwargs: Any) -> tuple:
        """Return the targets that were given."""
        if self._given is None:
            raise RuntimeError("targets are replayed inside replaying_targets() only")
        return _copied(self._given)

    @contextmanager
    def replaying_targets(
        self, targets: tuple, levels: Sequence[int], number: int
    ) -> Iterator[None]:
        """Use these targets inside the ``with`` block.

        Args:
            targets: what the other head's ``get_targets`` returned.
            levels: which levels of it this head has. What is no list of levels, such
                as the number of positives, stays as it is.
            number: how many levels the other head has.

        Raises:
            ValueError: some levels are asked for, and nothing is a list of levels.
        """
        if list(levels) != list(range(number)):
            targets = _of_levels(targets, levels, number, type(self).__name__)
        self._given = targets
        try:
            yield
        finally:
            self._given = None


def _copied(targets: Any) -> Any:
    """Copy the tensors of nested lists and tuples; other objects stay."""
    if isinstance(targets, list | tuple):
        return type(targets)([_copied(part) for part in targets])
    return targets.clone() if isinstance(targets, Tensor) else targets


def _of_levels(targets: tuple, levels: Sequence[int], number: int, head: str) -> tuple:
    if not any(isinstance(part, list) and len(part) == number for part in targets):
        raise ValueError(
            f"strides must be None for {head}, whose targets are not one per stride"
        )
    return tuple(
        [part[i] for i in levels]
        if isinstance(part, list) and len(part) == number
        else part
        for part in targets
    )


def _new_head(make_class: Callable[[type], type], head: type) -> nn.Module:
    """Make the head that pickle fills: it cannot find classes made while running."""
    kind = make_class(head)
    return kind.__new__(kind)


@functools.cache
def recording_targets_of(head: type) -> type:
    """Return a dense head's class that can keep its targets."""
    return type(head.__name__, (_TargetRecorder, head), {"__doc__": head.__doc__})


@functools.cache
def replaying_targets_of(head: type) -> type:
    """Return a dense head's class whose targets come from another head."""
    return type(head.__name__, (_TargetReplayer, head), {"__doc__": head.__doc__})


def computes_targets(head: type) -> bool:
    """Whether a dense head's losses come from its own ``get_targets``."""
    return "get_targets" in names_used(getattr(head, "loss_by_feat", None))


def scores_before_boxes(head: type) -> bool:
    """Whether a dense head computes classification losses before box losses."""
    names = names_used(getattr(head, "loss_by_feat", None))
    if "loss_by_feat_single" in names:
        names = names_used(getattr(head, "loss_by_feat_single", None))
    if "loss_cls" in names and "loss_bbox" in names:
        return names.index("loss_cls") < names.index("loss_bbox")
    return False


def names_used(function: Any) -> tuple[str, ...]:
    """List the attributes that a function uses, in the order of their first use."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    return code.co_names if code is not None else ()
