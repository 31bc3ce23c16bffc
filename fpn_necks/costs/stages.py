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
        cuts: Readings of whatever is measured: at the start, wherever another stage
            begins, and at the end; one more than ``owners``.
        owners: The stage between each two cuts.
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
        detector: A detector of mmdet.
        read: Returns a reading of what is measured.

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

    Args:
        detector: A detector of mmdet.

    Yields:
        A function that repeats the call, and what it returned; in the order of the
        calls. Of calls inside calls the outer one is kept.
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
    heads: Sequence[nn.Module] = [
        module
        for name, module in detector.named_modules()
        if hasattr(module, "predict_by_feat")
        and not name.startswith(("rpn_head", "auxiliary"))
    ]
    with ExitStack() as stack:
        for head in heads:
            # An attribute of this one object, in front of its class's method, or of
            # another wrapper of ours.
            before = dict(vars(head))
            wrapper = functools.partial(around, head.predict_by_feat)
            vars(head)["predict_by_feat"] = wrapper
            stack.callback(_restore, vars(head), before)
        yield


def _restore(attributes: dict[str, Any], before: dict[str, Any]) -> None:
    if "predict_by_feat" in before:
        attributes["predict_by_feat"] = before["predict_by_feat"]
    else:
        del attributes["predict_by_feat"]
