"""Are the strides of anchors, points and RoI extractors those of the maps?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..advice import agrees, levels_for_readers
from ..config_keys import value_at
from ..detectors import Detector
from ..findings import Finding
from ..measuring import MapSize
from ..readers import Reader, Stride

INFINITE = 1e8  # how FCOS writes that a range is open


def judge_strides(detector: Detector) -> list[Finding]:
    """Judge number and strides of the maps against what reads them."""
    maps = detector.outputs
    if not maps:
        return []
    if not detector.readers:
        kind = type(detector.model).__name__
        return [
            Finding(
                "note",
                "model",
                f"{kind} has no anchors, points or RoI extractor that say strides: "
                f"those of its maps, {_text(maps)}, are not judged",
            )
        ]
    wrong = [reader for reader in detector.readers if not agrees(reader, maps)]
    changes = levels_for_readers(detector) if wrong else {}
    findings = [_mismatch(reader, maps, changes) for reader in wrong]
    return findings + _ranges(detector, maps)


def _mismatch(reader: Reader, maps: list[MapSize], changes: dict[str, Any]) -> Finding:
    expected = [_one(stride) for stride in reader.strides]
    found = [_one(size.stride) for size in maps]
    what = f"{reader.kind} expects "
    if len(expected) == len(maps) or not reader.reads_all:
        what += f"strides {expected}"
    else:
        what += f"{len(expected)} maps of strides {expected}"
    mended = found if reader.reads_all else found[: len(expected)]
    if changes:
        remedy = (
            "with these levels of the neck all heads get what they expect; or change "
            f"{reader.key} to {mended}"
        )
    else:
        remedy = "take the strides of the maps"
    return Finding(
        "error",
        reader.key,
        f"{what}; it gets {len(maps)} maps of strides {found}",
        remedy,
        changes or {reader.key: mended},
    )


def _ranges(detector: Detector, maps: list[MapSize]) -> list[Finding]:
    """Judge FCOS's ranges of regression: one per level."""
    findings = []
    for reader in detector.readers:
        ranges = getattr(reader.module, "regress_ranges", None)
        if not isinstance(ranges, Sequence) or len(ranges) == len(maps):
            continue
        key = f"{reader.key.rsplit('.', 1)[0]}.regress_ranges"
        if value_at(detector.config, key) is None and len(reader.strides) != len(maps):
            continue  # the strides are wrong, and the default belongs to them
        ends = [8 * max(size.stride) for size in maps[:-1]]
        doubled = list(zip([-1, *ends], [*ends, INFINITE], strict=True))
        findings.append(
            Finding(
                "error",
                key,
                f"{len(ranges)} ranges of regression for {len(maps)} maps",
                "give one per map; FCOS's own end at 8 times the stride",
                {key: [tuple(_whole(end) for end in pair) for pair in doubled]},
            )
        )
    return findings


def _text(maps: list[MapSize]) -> str:
    return str([_one(size.stride) for size in maps])


def _one(stride: Stride) -> Any:
    x, y = (_whole(side) for side in stride)
    return x if x == y else (x, y)


def _whole(number: float) -> float | int:
    return int(number) if float(number).is_integer() else round(number, 2)
