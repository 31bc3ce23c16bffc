"""Arguments of the neck with which its maps are those that the heads expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .config_keys import value_at
from .detectors import Detector
from .measuring import MapSize, measure_neck
from .readers import Reader, Stride

Changes = dict[str, Any]


def agrees(reader: Reader, maps: Sequence[MapSize]) -> bool:
    """Tell whether a reader's strides are those of the maps it reads."""
    if reader.reads_all and len(reader.strides) != len(maps):
        return False
    return len(reader.strides) <= len(maps) and all(
        _same_stride(stride, size)
        for stride, size in zip(reader.strides, maps, strict=False)
    )


def levels_for_readers(detector: Detector) -> Changes:
    """Search the levels of the neck that suit all heads and RoI extractors.

    Each candidate is built and measured, so the advice is right by construction.

    Returns:
        The changes to the neck's first stage; empty if it is right already, or no
        choice of levels suits, or too little is known.
    """
    readers, backbone = detector.readers, detector.maps.backbone
    wanted = next((r.strides for r in readers if r.reads_all), ())
    if not readers or not backbone or not detector.neck_keys:
        return {}
    key = detector.neck_keys[0]
    current = value_at(detector.config, key)
    if not isinstance(current.get("in_channels"), Sequence):
        return {}
    num_outs = len(wanted) or current.get("num_outs", len(backbone))
    first = current.get("start_level", 0)
    starts = sorted(range(len(backbone)), key=lambda level: level != first)
    for start in starts:
        changes = {
            "in_channels": [size.channels for size in backbone],
            "start_level": start,
            "num_outs": num_outs,
        }
        if current.get("end_level", -1) != -1:
            changes["end_level"] = -1
        changes = {k: v for k, v in changes.items() if not _is_set(current, k, v)}
        sizes = measure_neck(_changed(detector, changes), backbone)
        if sizes and all(agrees(reader, sizes) for reader in readers):
            return {f"{key}.{name}": value for name, value in changes.items()}
    return {}


def _changed(detector: Detector, changes: Mapping[str, Any]) -> Any:
    neck = detector.neck_config()
    stage = neck if isinstance(neck, Mapping) else neck[0]
    stage.update(changes)
    return neck


def _is_set(current: Mapping[str, Any], name: str, value: Any) -> bool:
    default = 0 if name == "start_level" else None
    present = current.get(name, default)
    return (list(present) if isinstance(value, list) else present) == value


def _same_stride(expected: Stride, size: MapSize) -> bool:
    # Maps of one or two cells say little about their stride; and some networks (SSD)
    # lose a row or two at borders. Wrong levels are off by a factor of two.
    return all(
        cells <= 2 or 1 / 1.5 < stride / wanted < 1.5
        for cells, stride, wanted in zip(
            (size.width, size.height), size.stride, expected, strict=True
        )
    )
