"""Which stage of a detector is at work: backbone, neck, head or post-processing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Generic, TypeVar
from unittest import mock

from torch import nn

BACKBONE, NECK, HEAD = "backbone", "neck", "head"
POST_PROCESSING = "post-processing"
STAGES = (BACKBONE, NECK, HEAD, POST_PROCESSING)

Reading = TypeVar("Reading")


@dataclass
class Segments(Generic[Reading]):
    """A run, cut where another stage begins to work.

    Args:
        cuts: Readings of what is measured, from start to end: one more than owners.
        owners: The stage between each two cuts.
    """

    cuts: list[Reading] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)

    def add_up(
        self, difference: Callable[[Reading, Reading], float]
    ) -> dict[str, float]:
        """Add up the differences of neighbouring cuts, for each stage of ``STAGES``."""
        totals = dict.fromkeys(STAGES, 0.0)
        for owner, cuts in zip(self.owners, pairwise(self.cuts), strict=True):
            totals[owner] += difference(*cuts)
        return totals


@contextmanager
def cut_by_stage(
    detector: nn.Module, read: Callable[[], Reading]
) -> Iterator[Segments[Reading]]:
    """Cut what runs inside the context into the stages of a detector.

    Backbone and neck are the modules of that name, whatever happens in them.
    Post-processing is what happens in ``predict_by_feat`` of a head: decoding of boxes,
    NMS, pasting of masks; of the RPN it belongs to the head, since it makes the head's
    input. Everything else is the head, RoI pooling for example.

    Yields:
        The segments, cut by what ``read`` returns; complete behind the context.
    """
    segments: Segments[Reading] = Segments()
    at_work = [HEAD]

    def enter(stage: str) -> None:
        segments.cuts.append(read())
        segments.owners.append(at_work[-1])
        at_work.append(stage)

    def leave() -> None:
        segments.cuts.append(read())
        segments.owners.append(at_work.pop())

    def post_process(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        enter(POST_PROCESSING)
        try:
            return original(*args, **kwargs)
        finally:
            leave()

    with ExitStack() as stack:
        for name in (BACKBONE, NECK):
            module = getattr(detector, name, None)
            if module is not None:
                # First before, and last behind whatever hooks there are.
                before = module.register_forward_pre_hook(
                    lambda *_, name=name: enter(name), prepend=True
                )
                stack.callback(before.remove)
                behind = module.register_forward_hook(lambda *_: leave())
                stack.callback(behind.remove)
        stack.enter_context(_around_post_processing(detector, post_process))
        segments.cuts.append(read())
        yield segments
        segments.cuts.append(read())
        segments.owners.append(HEAD)


@contextmanager
def record_post_processing(
    detector: nn.Module,
) -> Iterator[list[tuple[Callable[[], Any], Any]]]:
    """Keep every call of a head's post-processing inside the context.

    Yields:
        For each call a function that repeats it, and what it returned. Of calls inside
        calls the outer one is kept.
    """
    calls: list[tuple[Callable[[], Any], Any]] = []

    def record(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        before = len(calls)
        result = original(*args, **kwargs)
        calls[before:] = [(functools.partial(original, *args, **kwargs), result)]
        return result

    with _around_post_processing(detector, record):
        yield calls


@contextmanager
def _around_post_processing(
    detector: nn.Module, around: Callable[..., Any]
) -> Iterator[None]:
    heads = [
        module
        for name, module in detector.named_modules()
        if hasattr(module, "predict_by_feat")
        and not name.startswith(("rpn_head", "auxiliary"))
    ]
    with ExitStack() as stack:
        for head in heads:
            # An attribute of this one object, in front of its class's method.
            wrapper = functools.partial(around, head.predict_by_feat)
            stack.enter_context(mock.patch.object(head, "predict_by_feat", wrapper))
        yield
