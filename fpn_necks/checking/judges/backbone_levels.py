"""Does the neck take the maps that the backbone gives?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fpn_necks.necks import ASFF

from ..advice import Changes, levels_for_readers
from ..config_files import one_line
from ..config_keys import value_at
from ..detectors import Detector
from ..findings import Finding
from ..measuring import MapSize, neck_stages


def judge_backbone_levels(detector: Detector) -> list[Finding]:
    """Judge ``in_channels``, ``start_level`` and ``num_outs`` of each stage."""
    findings: list[Finding] = []
    if detector.neck_keys and detector.maps.backbone:
        findings += _first_stage(detector, detector.neck_keys[0])
        if not findings:
            findings += _level_arguments(detector)
    if detector.model is not None and not detector.build_error:
        findings += _later_stages(detector)
    return findings


def _first_stage(detector: Detector, key: str) -> list[Finding]:
    stage = value_at(detector.config, key)
    expected = stage.get("in_channels")
    found = [size.channels for size in detector.maps.backbone or []]
    ran = bool(detector.maps.stages)
    if ran or not _is_list(expected) or list(expected) == found:
        return []
    # YOLOv3's neck takes the maps from the coarsest to the finest.
    if list(expected) == found[::-1]:
        return []
    out_indices = value_at(detector.config, "model.backbone.out_indices")
    chosen = "" if out_indices is None else f" (out_indices={tuple(out_indices)})"
    changes = levels_for_readers(detector) or _shift(stage, key, found)
    return [
        Finding(
            "error",
            f"{key}.in_channels",
            f"the neck expects {len(expected)} backbone maps of {list(expected)} "
            f"channels; the backbone gives {len(found)} of {found}{chosen}",
            "name the maps that there are, or change the backbone's out_indices",
            changes,
        )
    ]


def _shift(stage: Mapping[str, Any], key: str, found: list[int]) -> Changes:
    """Name all maps; keep on using the same ones, if they can be told."""
    changes: Changes = {f"{key}.in_channels": found}
    expected, start = list(stage["in_channels"]), stage.get("start_level", 0)
    used = expected[start:]
    for offset in range(len(found) - len(used) + 1):
        if found[offset : offset + len(used)] == used and offset != start:
            changes[f"{key}.start_level"] = offset
    return changes


def _level_arguments(detector: Detector) -> list[Finding]:
    if detector.failed_key != "model.neck" or detector.build_error is None:
        return []
    changes = levels_for_readers(detector)
    if not changes:
        return []
    return [
        Finding(
            "error",
            _key_named(detector, str(detector.build_error)),
            f"the neck cannot be built: {one_line(detector.build_error)}",
            "with these levels it gives the strides that the heads expect",
            changes,
        )
    ]


def _key_named(detector: Detector, message: str) -> str:
    key = detector.neck_keys[0]
    named = message.split(" ")[0]
    known = ("start_level", "end_level", "num_outs", "in_channels")
    return f"{key}.{named}" if named in known else key


def _later_stages(detector: Detector) -> list[Finding]:
    """Judge the first stage of a list that failed for the maps it was given."""
    failed = len(detector.maps.stages)
    if detector.maps.error is None or not 0 < failed < len(detector.neck_keys):
        return []
    stage = neck_stages(detector.model)[failed]
    key, given = detector.neck_keys[failed], detector.maps.stages[-1]
    config = value_at(detector.config, key)
    expected = config.get("in_channels")
    read = _read_by(stage, given)
    widths = [size.channels for size in read]
    if isinstance(stage, ASFF) and stage.num_fused > len(given):
        return [
            Finding(
                "error",
                f"{key}.num_fused",
                f"ASFF fuses {stage.num_fused} levels; the stage before it gives "
                f"{len(given)}",
                "fuse as many as there are",
                {f"{key}.num_fused": len(given)},
            )
        ]
    if expected is None or widths == _as_list(expected, len(widths)):
        return []
    value: Any = widths if _is_list(expected) else widths[0]
    return [
        Finding(
            "error",
            f"{key}.in_channels",
            f"{type(stage).__name__} expects {expected} channels; the stage before it "
            f"gives {widths}",
            "take the width of the stage before",
            {f"{key}.in_channels": value},
        )
    ]


def _read_by(stage: Any, given: list[MapSize]) -> list[MapSize]:
    if not isinstance(stage, ASFF):
        return given
    coarse_first = stage.order == "coarse_to_fine"
    return given[-stage.num_fused :] if coarse_first else given[: stage.num_fused]


def _as_list(channels: Any, length: int) -> list[int]:
    return list(channels) if _is_list(channels) else [channels] * length


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
