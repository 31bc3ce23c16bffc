"""Can the detector be built and run at all?"""

from __future__ import annotations

import difflib
import re

from mmdet.registry import MODELS

from ..config_files import one_line
from ..config_keys import has_key, walk
from ..detectors import LANGUAGE_MODEL, Detector
from ..findings import Finding
from ..measuring import neck_stages

_UNKNOWN_TYPE = re.compile(r"(\w+) is not in the (\S+) registry")


def judge_building(detector: Detector) -> list[Finding]:
    """Judge whether the model could be built and an image passed through it."""
    if detector.build_error is not None:
        return [_build_failure(detector, detector.build_error)]
    if has_key(detector.config, f"model.{LANGUAGE_MODEL}"):
        return [
            Finding(
                "note",
                f"model.{LANGUAGE_MODEL}",
                "a language model is downloaded when it is built: the model is not "
                "built, its maps and heads are not judged",
            )
        ]
    if detector.model is None:
        return [
            Finding("note", "model", "the config describes no model: nothing is judged")
        ]
    if not detector.can_extract:
        kind = type(detector.model).__name__
        return [
            Finding(
                "note",
                "model.type",
                f"{kind} is no detector with backbone and extract_feat: its maps are "
                "not judged",
            )
        ]
    if detector.maps.error is not None:
        return [_run_failure(detector, detector.maps.error)]
    return []


def _build_failure(detector: Detector, error: Exception) -> Finding:
    message = one_line(error)
    if "process group" in message:
        return Finding(
            "note",
            detector.failed_key,
            "is built in a distributed run only (synchronised normalisation); its maps "
            "and heads are not judged",
        )
    unknown = _UNKNOWN_TYPE.search(message)
    if unknown is None:
        return Finding(
            "error",
            detector.failed_key,
            f"cannot be built: {message}",
            "change the argument that the message names",
        )
    name, registry = unknown.groups()
    keys = [
        f"{key}.type" for key, node in walk(detector.config) if node.get("type") == name
    ]
    key = next((k for k in keys if k.startswith("model.")), detector.failed_key)
    similar = _most_similar(name)
    hint = f"the most similar name is {similar}; or " if similar else ""
    return Finding(
        "error",
        key,
        f"{name} is not in the {registry} registry",
        f"{hint}name the module that registers it in custom_imports",
        {key: similar} if similar and key.endswith(".type") else {},
    )


def _most_similar(name: str) -> str | None:
    known = {kind.lower(): kind for kind in MODELS.module_dict}
    if name.lower() in known:
        return known[name.lower()]
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.8)
    return known[close[0]] if close else None


def _run_failure(detector: Detector, error: Exception) -> Finding:
    maps = detector.maps
    if maps.backbone is None:
        key, part = "model.backbone", "the backbone"
    else:
        # Without a neck of stages it is the detector's own extract_feat.
        index = min(len(maps.stages), max(len(detector.neck_keys) - 1, 0))
        key = detector.neck_keys[index] if detector.neck_keys else "model"
        stages = neck_stages(detector.model) if detector.model else []
        part = type(stages[index]).__name__ if index < len(stages) else "the detector"
    if maps.device == "cpu" and isinstance(error, TypeError | AttributeError):
        # Detectors that read texts or several images have another way in.
        return Finding(
            "note", key, f"{part} does not take an image alone: {one_line(error)}"
        )
    if "device cpu not found" in str(error):
        return Finding(
            "note",
            key,
            f"{part} has an operator that needs a GPU: its maps are not judged",
        )
    return Finding(
        "error",
        key,
        f"{part} cannot be run: {one_line(error)}",
        "change the argument that the message names",
    )
