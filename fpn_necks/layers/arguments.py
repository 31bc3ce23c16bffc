"""Checks of arguments, whose errors name the argument and what was expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Sequence


def check_choice(name: str, value: str, allowed: Collection[str]) -> str:
    """Return ``value``, or raise a ValueError unless it is one of ``allowed``."""
    if value not in tuple(allowed):
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}")
    return value


def check_bool(name: str, value: object) -> bool:
    """Return ``value``, or raise a TypeError unless it is ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def check_int(
    name: str, value: object, minimum: int | None = 1, maximum: int | None = None
) -> int:
    """Return ``value`` if it is an integer from ``minimum`` to ``maximum``.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is outside the bounds; ``None`` is no bound.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if maximum is not None and not minimum <= value <= maximum:
        raise ValueError(f"{name} must lie in [{minimum}, {maximum}], got {value}")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return value


def check_number(
    name: str, value: object, above: float | None = None, maximum: float = math.inf
) -> float:
    """Return ``value`` as a float if it is finite and within its bounds.

    It must be above ``above``, or at least 0 if that is ``None``.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not finite, too small or too large.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    fits = value >= 0 if above is None else value > above
    if not (math.isfinite(value) and fits and value <= maximum):
        bound = "at least 0" if above is None else f"above {above}"
        bound += "" if maximum == math.inf else f" and at most {maximum}"
        raise ValueError(f"{name} must be finite and {bound}, got {value!r}")
    return float(value)


def check_list(name: str, value: object, length: int | None = None) -> list:
    """Return ``value`` as a list if it is a list or a tuple of ``length`` entries.

    Raises:
        TypeError: it is neither.
        ValueError: it is longer or shorter.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list, got {value!r}")
    if length is not None and len(value) != length:
        raise ValueError(f"{name} must have {length} entries, got {value!r}")
    return list(value)
