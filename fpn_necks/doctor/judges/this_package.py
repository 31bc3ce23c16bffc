"""Judges of fpn_necks itself."""

from __future__ import annotations

import re

from ..facts import Facts
from ..findings import Finding


def judge_fpn_necks(facts: Facts) -> list[Finding]:
    """Judge whether fpn_necks registers its necks."""
    step = facts["fpn_necks"]
    error = step.get("error")
    if error is not None:
        return [
            Finding(
                "fault",
                "fpn_necks",
                f"cannot be imported: {error}",
                "mend the faults above first; without any, install fpn_necks anew",
            )
        ]
    if not step.get("registered"):
        return [
            Finding(
                "fault",
                "fpn_necks",
                f"{step.get('file')} does not register SAlphaFPN in mmdet's MODELS",
                "install fpn_necks anew; look for a second copy of it or of mmdet",
            )
        ]
    return [
        Finding("ok", "fpn_necks", f"{step['version']}, registered in mmdet's MODELS")
    ]


def judge_checkpoint(facts: Facts) -> list[Finding]:
    """Judge whether checkpoints can be loaded."""
    error = facts["checkpoint"].get("error")
    if error is None:
        return [Finding("ok", "checkpoints", "can be saved and loaded")]
    # torch's message is a page of text with the one thing that matters in its middle.
    refused = re.search(r"Unsupported global: GLOBAL (\S+)", error)
    return [
        Finding(
            "fault",
            "checkpoints",
            "a checkpoint with mmengine's log history cannot be loaded: "
            + (f"torch does not allow {refused[1]} in it" if refused else error),
            "import fpn_necks before loading (custom_imports in the config); if it is, "
            "install fpn_necks anew",
        )
    ]
