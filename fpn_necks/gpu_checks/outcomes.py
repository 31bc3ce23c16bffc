"""What became of each check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PASSED = "passed"
FAILED = "failed"
UNSUPPORTED = "unsupported"
NOT_RUN = "not run"
STATES = (PASSED, FAILED, UNSUPPORTED, NOT_RUN)


class CheckFailed(AssertionError):
    """What a check asserts does not hold.

    Args:
        message: what was found, and what was expected.
        numbers: what was measured until then.
    """

    def __init__(self, message: str, numbers: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.numbers = dict(numbers or {})


class Unsupported(Exception):
    """A library below this one cannot do what the check needs; no fault of ours."""


@dataclass(frozen=True)
class Outcome:
    """The result of one check of one subject.

    Args:
        check: name of the check, ``parity`` for example.
        subject: what was checked, a neck for example.
        state: one of ``STATES``.
        detail: why it failed, is unsupported or was not run; empty if it passed.
        numbers: what was measured, as json can hold it.
        seconds: how long it took.
    """

    check: str
    subject: str
    state: str
    detail: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state must be one of {STATES}, got {self.state!r}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name; the reverse of ``Outcome(**fields)``."""
        return asdict(self)


def one_line(error: BaseException, limit: int = 400) -> str:
    """Write an error in one line of at most ``limit`` characters."""
    text = " ".join(str(error).split())
    if not isinstance(error, CheckFailed | Unsupported):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."
