"""The judge of a library: that it can be imported and has a version that works."""

from __future__ import annotations

from ...compatibility import WANTED, check_versions, remedy_for, wanted_range
from ..facts import Facts
from ..findings import Finding
from ..remedies import remedy_for_error


def judge_library(step: str, remedy: str, facts: Facts) -> list[Finding]:
    """Judge one library.

    Args:
        step: The step that imports it.
        remedy: What to do about an error that is not a known one.
        facts: Step -> facts.
    """
    error = facts[step].get("error")
    if error is not None:
        return [Finding("fault", step, error, remedy_for_error(error) or remedy)]
    version = facts[step].get("version")
    if version is None and step != "pycocotools":
        return [
            Finding(
                "fault",
                step,
                f"{facts[step].get('file')} is not the library: no __version__",
                "rename that folder or run from another directory",
            )
        ]
    if step in WANTED and check_versions({step: version}):
        return [
            Finding(
                "fault",
                step,
                f"{version}, wanted {wanted_range(step)}",
                remedy_for(step),
            )
        ]
    return [Finding("ok", step, version or "works")]
