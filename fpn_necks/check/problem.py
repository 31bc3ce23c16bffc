"""What a rule yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """One problem of a config, or a note.

    Args:
        level: ``error`` keeps the detector from running or makes its results wrong,
            ``warning`` may do so, ``note`` is a hint, or says what was not checked.
        key: the config key it is about, dotted as in ``--cfg-options``.
        detail: what was found, and what was expected.
        remedy: what to do; empty if there is nothing to do.
    """

    level: Literal["error", "warning", "note"]
    key: str
    detail: str
    remedy: str = ""


Problems = Iterator[Problem]
