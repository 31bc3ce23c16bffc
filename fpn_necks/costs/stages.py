"""Which stage of a detector is at work: backbone, neck, head or post-processing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import nn

BACKBONE, NECK, HEAD = "backbone", "neck", "head"
POST_PROCESSING = "post-processing"
STAGES = (BACKBONE, NECK, HEAD, POST_PROCESSING)

Reading = TypeVar("Reading")


@dataclass
class Segments(Generic[Reading]):
    """A run, cut where another stage begins to work.

    Args:
        cuts: readings of whatever is measured: at the start, wherever another stage
            begins, and at the end; one more than ``owners``.
        owners: the stage between each two cuts.
    """

    cuts: list[Reading] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)

    def add_up(
        self, difference: Callable[[Reading, Reading], float]
    ) -> dict[str, float]:
        """Add up the differences of neighbouring cuts, for each stage of ``STAGES``."""
        totals: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        for owner, start, end in zip(
            self.owners, self.cuts[:-1], self.cuts[1:], strict=True
        ):
            totals[owner] += difference(start, end)
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

    Hooks and wrappers are on this one detector's modules, and only inside the context.

    Args:
        detector: a detector of mmdet.
        read: returns a reading of what is measured.

    Yields:
        The segments; complete behind the context.
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

    with ExitStack() as stack:
        for name in (BACKBONE, NECK):
            module = getattr(detector, name, None)
            if module is not None:
                stack.enter_context(_hooks(module, name, enter, leave))
        for head in _heads(detector):
            stack.enter_context(_around_post_processing(head, enter, leave))
        segments.cuts.append(read())
        yield segments
        segments.cuts.append(read())
        segments.owners.append(HEAD)


@contextmanager
def record_post_processing(
    detector: nn.Module,
) -> Iterator[list[tuple[nn.Module, Callable[[], Any], Any]]]:
    """Keep every call of a head's post-processing inside the context.

    Args:
        detector: a detector of mmdet.

    Yields:
        The head, a function that repeats its call, and what it returned; in the order
        of the calls. Of calls inside calls the outer one is kept.
    """
    calls: list[tuple[nn.Module, Callable[[], Any], Any]] = []
    with ExitStack() as stack:
        for head in _heads(detector):
            stack.enter_context(_recording_calls(head, calls))
        yield calls


@contextmanager
def _hooks(
    module: nn.Module,
    name: str,
    enter: Callable[[str], None],
    leave: Callable[[], None],
) -> Iterator[None]:
    # First before, and last behind whatever hooks there are.
    before = module.register_forward_pre_hook(lambda *_: enter(name), prepend=True)
    behind = module.register_forward_hook(lambda *_: leave())
    try:
        yield
    finally:
        before.remove()
        behind.remove()


@contextmanager
def _around_post_processing(
    head: nn.Module, enter: Callable[[str], None], leave: Callable[[], None]
) -> Iterator[None]:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            enter(POST_PROCESSING)
            try:
                return original(*args, **kwargs)
            finally:
                leave()

        return run

    with _wrapped(head, around):
        yield


@contextmanager
def _recording_calls(head: nn.Module, calls: list[Any]) -> Iterator[None]:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            before = len(calls)
            result = original(*args, **kwargs)
            del calls[before:]
            calls.append((head, functools.partial(original, *args, **kwargs), result))
            return result

        return run

    with _wrapped(head, around):
        yield


@contextmanager
def _wrapped(
    head: nn.Module, around: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    original = head.predict_by_feat
    # Another wrapper of ours may be there already.
    outer = vars(head).get("predict_by_feat")
    wrapper = around(original)
    functools.update_wrapper(wrapper, original)
    # An attribute of this one object, in front of its class's method.
    object.__setattr__(head, "predict_by_feat", wrapper)
    try:
        yield
    finally:
        if outer is None:
            object.__delattr__(head, "predict_by_feat")
        else:
            object.__setattr__(head, "predict_by_feat", outer)


def _heads(detector: nn.Module) -> Sequence[nn.Module]:
    return [
        module
        for name, module in detector.named_modules()
        if hasattr(module, "predict_by_feat")
        and not name.startswith(("rpn_head", "auxiliary"))
    ]
