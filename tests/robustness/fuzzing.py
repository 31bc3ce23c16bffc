"""How the fuzz tests draw their cases, and how many there are.

A run of the suite draws the same cases every time. To hunt with others:

    FUZZ_FACTOR=5 pytest tests/robustness --hypothesis-seed=7
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

FACTOR = int(os.environ.get("FUZZ_FACTOR", "0"))
"""0: the suite's own cases; otherwise how many times as many, drawn by the seed."""


def fuzz(cases: int, **strategies: st.SearchStrategy) -> Callable:
    """Run a test on so many drawn cases, and see to it that there were as many."""

    def decorate(test: Callable) -> Callable:
        wanted = cases * max(1, FACTOR)
        count = 0

        @hypothesis.settings(
            max_examples=wanted,
            derandomize=not FACTOR,
            database=None,
            deadline=None,
            print_blob=True,
            # Making a failing neck smaller takes minutes, and it is small.
            phases=(Phase.explicit, Phase.generate),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(**strategies)
        def on_drawn(**drawn: Any) -> None:
            nonlocal count
            count += 1
            test(**drawn)

        @functools.wraps(test)
        def run() -> None:
            nonlocal count
            count = 0
            on_drawn()
            assert count >= wanted, f"{count} cases of {wanted}"

        del run.__wrapped__  # pytest would take the drawn arguments for fixtures
        return run

    return decorate


def check_refusal(error: Exception, names: list[str], what: str) -> None:
    """Accept a ValueError or a TypeError that names one of these, nothing else."""
    assert isinstance(error, ValueError | TypeError), f"{what}: {error!r}"
    text = str(error)
    assert any(name in text for name in names), f"{what}: {names} not in {text!r}"
