from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Args:
        level: ``fault`` keeps fpn_necks from working, ``warning`` may do so later.
        title: What it is about: a library or a property of the installation.
        detail: What was found: a version, an error.
        remedy: What to do; empty if all is well.
    """

    level: Literal["ok", "warning", "fault"]
    title: str
    detail: str
    remedy: str = ""
