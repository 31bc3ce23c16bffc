"""Printing the findings."""

from __future__ import annotations

import dataclasses
import json

from ..version import __version__
from .diagnosis import diagnose
from .facts import gather_facts
from .findings import Finding

_LONGEST_DETAIL = 400  # characters in the table


def run_doctor(as_json: bool = False) -> int:
    """Examine this installation and print the findings.

    Args:
        as_json: Print JSON instead of the table.

    Returns:
        The exit status: 1 if there is a fault, 0 otherwise.
    """
    facts = gather_facts()
    findings = diagnose(facts)
    if as_json:
        report = {
            "fpn_necks": __version__,
            "findings": [dataclasses.asdict(finding) for finding in findings],
            "facts": facts,
        }
        print(json.dumps(report, indent=2))
    else:
        print(format_findings(findings))
    return int(any(finding.level == "fault" for finding in findings))


def format_findings(findings: list[Finding]) -> str:
    """Return the findings as a table, remedies below their lines."""
    width = max((len(finding.title) for finding in findings), default=0)
    lines = [f"fpn_necks {__version__} doctor", ""]
    for finding in findings:
        detail = finding.detail
        if len(detail) > _LONGEST_DETAIL:
            detail = f"{detail[:_LONGEST_DETAIL]} ... (--json has the rest)"
        lines.append(
            f"  {finding.level:<8} {finding.title:<{width}}  {detail}".rstrip()
        )
        if finding.remedy:
            lines.append(f"  {'':<8} {'':<{width}}  remedy: {finding.remedy}")
    faults = sum(finding.level == "fault" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    lines += ["", f"{_count(faults, 'fault')}, {_count(warnings, 'warning')}"]
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
