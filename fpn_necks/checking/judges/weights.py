"""Are the weights there that the config wants to load?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..config_keys import walk
from ..detectors import Detector
from ..findings import Finding

TRAININGS = "work_dirs"  # where mmdet's tools write what they train


def judge_weights(detector: Detector) -> list[Finding]:
    """Judge ``load_from`` and every ``checkpoint`` of an ``init_cfg``."""
    findings = []
    for key, switch, place in _wanted(detector.config):
        scheme, separator, _ = place.partition("://")
        if separator and scheme != "file":
            findings.append(
                Finding("note", key, f"needs download (or a cached copy): {place}")
            )
        elif not Path(place.removeprefix("file://")).is_file():
            findings.append(_missing(key, switch, place))
    return findings


def _missing(key: str, switch: str, place: str) -> Finding:
    detail = f"there is no file {place} (seen from {Path.cwd()})"
    path = Path(place)
    if path.parts[0] == TRAININGS:
        # It is the result of another training, and that may come first.
        return Finding(
            "warning",
            key,
            detail,
            f"train {path.parent.name} first, which writes it; or None: do without",
            {switch: None},
        )
    return Finding(
        "error",
        key,
        detail,
        "correct the path, or None: start from random weights",
        {switch: None},
    )


def _wanted(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the key of a place, the key that switches it off, and the place."""
    if isinstance(config.get("load_from"), str):
        yield "load_from", "load_from", config["load_from"]
    for key, node in walk(config.get("model") or {}, "model"):
        kind = node.get("type")
        name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
        if name.split(".")[-1].startswith("Pretrained") and node.get("checkpoint"):
            yield f"{key}.checkpoint", key, node["checkpoint"]
        for name in ("pretrained", "teacher_ckpt"):
            if isinstance(node.get(name), str):
                yield f"{key}.{name}", f"{key}.{name}", node[name]
