"""Which stage of a detector is at work: backbone, neck, head or post-processing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from torch import nn

BACKBONE, NECK, HEAD = "backbone", "neck", "head"
POST_PROCESSING = "post-processing"
STAGES = (BACKBONE, NECK, HEAD, POST_PROCESSING)


@contextmanager
def split_by_stage(
    detector: nn.Module, read: Callable[[], float]
) -> Iterator[dict[str, float]]:
    """Split what runs inside the context into the stages of a detector.

    Backbone and neck are the modules of that name, whatever happens in them.
    Post-processing is what happens in ``predict_by_feat`` of a head: decoding of boxes,
    NMS, pasting of masks; of the RPN it belongs to the head, since it makes the head's
    input. Everything else is the head, RoI pooling for example.

    Args:
        detector: the detector.
        read: returns what is measured, such as a clock's time; it only grows.

    Yields:
        By how much it grew in each stage that ran; complete behind the context.
    """
    totals: dict[str, float] = {}
    at_work = [HEAD]
    last = read()

    def cut() -> None:
        nonlocal last
        now = read()
        totals[at_work[-1]] = totals.get(at_work[-1], 0) + now - last
        last = now

    def enter(stage: str) -> None:
        cut()
        at_work.append(stage)

    def leave() -> None:
        cut()
        at_work.pop()

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
        for name, head in detector.named_modules():
            is_other = name.startswith(("rpn_head", "auxiliary"))
            if hasattr(head, "predict_by_feat") and not is_other:
                # An attribute of this one object, in front of its class's method.
                wrapper = functools.partial(post_process, head.predict_by_feat)
                stack.enter_context(mock.patch.object(head, "predict_by_feat", wrapper))
        yield totals
        cut()
