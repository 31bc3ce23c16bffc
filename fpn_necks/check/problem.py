"""What a rule yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Problem:
    """One problem of a config, or a note.

    Args:
        level: ``error`` keeps the detector from running or makes its results wrong,
            ``warning`` may do so, ``note`` is a hint, or says what was not checked.
        key: the config key it is about, dotted as in ``--cfg-options``.
        detail: what was found, and what was expected.
        remedy: what to do, in words; empty if there is nothing to do.
        changes: dotted key -> value: the change that mends it, as
            ``Config.merge_from_dict`` takes it. Empty if only the user can know.
        place: ``file:line``, where it is not that of the key.
    """

    level: Literal["error", "warning", "note"]
    key: str
    detail: str
    remedy: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""


Problems = Iterator[Problem]
