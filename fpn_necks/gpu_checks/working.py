"""The process that does the checks, and reports each at once."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from .outcomes import (
    FAILED,
    PASSED,
    UNSUPPORTED,
    CheckFailed,
    Outcome,
    Unsupported,
    one_line,
)
from .planning import SHARES, Unit

Line = Mapping[str, Any]
BROKEN = 3
"""Exit status of a process whose device no longer computes."""


def work(
    units: Sequence[Unit],
    device: torch.device,
    deadline: float,
    minutes: float,
    write: Callable[[Line], None],
    spent: Mapping[str, float] | None = None,
) -> bool:
    """Do checks in order until the time is over.

    A check that has taken its part of the time (``SHARES``) waits until the others are
    done. No exception of a check reaches the caller.

    Args:
        units: what to do.
        device: where; it is asked after each failure whether it still computes.
        deadline: on the clock ``time.time``; nothing begins behind it.
        minutes: of the whole run, which the shares are of.
        write: gets ``begin`` before, and an outcome's fields behind each unit.
        spent: seconds that checks took in earlier processes, by name.

    Returns:
        Whether the device still computes; after some errors it does nothing more for
        this process.
    """
    taken = dict(spent or {})
    waiting: list[Unit] = []

    def go_through(some: Iterable[Unit], shares: Mapping[str, float]) -> bool:
        for unit in some:
            if time.time() >= deadline:
                return True
            limit = 60 * minutes * shares.get(unit.check, 1.0)
            if taken.get(unit.check, 0.0) >= limit:
                waiting.append(unit)
                continue
            write(dict(begin=list(unit.key)))
            outcome = do(unit)
            taken[unit.check] = taken.get(unit.check, 0.0) + outcome.seconds
            write(outcome.to_json())
            if outcome.state != PASSED and not still_computes(device):
                return False
            _tidy(device)
        return True

    if not go_through(units, SHARES):
        return False
    return go_through(list(waiting), {})


def do(unit: Unit) -> Outcome:
    """Do one check; whatever it raises becomes its outcome."""
    start = time.perf_counter()
    state, detail, numbers = PASSED, "", {}
    try:
        numbers = unit.run()
    except Unsupported as error:
        state, detail = UNSUPPORTED, one_line(error)
    except CheckFailed as error:
        state, detail, numbers = FAILED, one_line(error), error.numbers
    # A check runs other people's code, which can fail in any way.
    except Exception as error:
        state, detail = FAILED, one_line(error)
    seconds = time.perf_counter() - start
    return Outcome(unit.check, unit.subject, state, detail, numbers, seconds)


def still_computes(device: torch.device) -> bool:
    """Tell whether a device answers; after an illegal access, a GPU does not."""
    try:
        return torch.ones(2, device=device).sum().item() == 2
    except RuntimeError:
        return False


def _tidy(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
