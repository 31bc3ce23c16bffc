"""Which judges there are, and what is the consequence of what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from .detectors import Detector
from .findings import Finding
from .judges import (
    judge_backbone_levels,
    judge_batches,
    judge_building,
    judge_channels,
    judge_classes,
    judge_fusion_factors,
    judge_imports,
    judge_strides,
    judge_weights,
)

JUDGES: tuple[Callable[[Detector], list[Finding]], ...] = (
    judge_imports,
    judge_backbone_levels,
    judge_fusion_factors,
    judge_strides,
    judge_channels,
    judge_classes,
    judge_weights,
    judge_batches,
)
"""Every judge but that of building, in the order of the report."""


def diagnose(detector: Detector) -> list[Finding]:
    """Ask every judge.

    Args:
        detector: what is known, from ``examine``.

    Returns:
        The findings, causes before their consequences: if building or running failed
        and a judge has found out why, the failure itself is a note.
    """
    findings = [finding for judge in JUDGES for finding in judge(detector)]
    explained = any(_is_of_model(finding) for finding in findings)
    for finding in judge_building(detector):
        if explained and finding.level == "error":
            finding = dataclasses.replace(
                finding,
                level="note",
                remedy="a consequence of the above; mend that first",
                changes={},
            )
        findings.append(finding)
    return findings


def _is_of_model(finding: Finding) -> bool:
    key = finding.key.split(".")
    about_maps = key[0] == "model" and key[-1] not in ("num_classes", "checkpoint")
    return finding.level == "error" and (about_maps or key[0] == "custom_imports")
