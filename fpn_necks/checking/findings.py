from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing about a config.

    Args:
        level: ``error`` keeps the detector from running or makes its results wrong,
            ``warning`` may do so, ``note`` is a hint, or says what was not judged.
        key: The config key it is about, dotted as in ``--cfg-options``.
        detail: What was found, and what was expected.
        remedy: What to do, in words; empty if there is nothing to do.
        changes: Dotted key -> value: the change that mends it, as
            ``Config.merge_from_dict`` takes it. Empty if only the user can know.
    """

    level: Literal["error", "warning", "note"]
    key: str
    detail: str
    remedy: str = ""
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
