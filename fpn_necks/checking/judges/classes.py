"""Do the heads tell apart as many classes as the data have?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmdet.registry import DATASETS

from ..config_keys import has_key, key_of_module, value_at, walk
from ..detectors import Detector
from ..findings import Finding
from ..readers import judged_modules

# Objectness, or other classes than those of boxes; the choice of mmdet's
# NumClassCheckHook.
_OTHER_CLASSES = ("rpn_head", "semantic_head", "panoptic_fusion_head")


def judge_classes(detector: Detector) -> list[Finding]:
    """Judge ``num_classes`` of every head against the datasets' ``metainfo``."""
    findings: list[Finding] = []
    classes: dict[str, list[str]] = {}
    kinds: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        for key, dataset in _datasets(detector.config, split):
            names = _class_names(dataset)
            if isinstance(names, str):
                findings.append(_one_name(f"{key}.metainfo.classes", names))
            elif names:
                own = has_key(dataset, "metainfo.classes")
                # The default classes of another dataset (of tracks) are no mistake.
                if own or not kinds or dataset["type"] in kinds.values():
                    classes[key], kinds[key] = list(names), dataset["type"]
    if not classes or findings:
        return findings
    first, names = next(iter(classes.items()))
    findings += [
        Finding(
            "error",
            f"{key}.metainfo.classes",
            f"{len(others)} classes {_short(others)}, where {first} has "
            f"{len(names)} {_short(names)}: the numbers of classes mean other things",
            "name the same classes in the same order",
            {f"{key}.metainfo.classes": tuple(names)},
        )
        for key, others in classes.items()
        if others != names
    ]
    things = _default(value_at(detector.config, first), "thing_classes")
    findings += _heads(detector, first, names, len(things or ()))
    return findings + list(_auxiliary_heads(detector, first, names))


def _heads(
    detector: Detector, dataset: str, names: list[str], num_things: int
) -> Iterator[Finding]:
    """Judge each head; of panoptic data, those of boxes tell only things apart."""
    if detector.model is None:
        return
    seen: set[str] = set()
    for name, module in judged_modules(detector.model):
        count = getattr(module, "num_classes", None)
        path = name.split(".")
        is_head = any(part.endswith("_head") for part in path[-2:])
        if not is_head or set(_OTHER_CLASSES) & set(path) or type(count) is not int:
            continue
        key = key_of_module(detector.config, name)
        if key is None or key in seen or count in (len(names), num_things):
            continue
        seen.add(key)
        yield Finding(
            "error",
            f"{key}.num_classes",
            f"{type(module).__name__} tells {count} classes apart; {dataset} has "
            f"{len(names)} {_short(names)}",
            "take the number of the dataset's classes",
            {f"{key}.num_classes": len(names)},
        )


def _auxiliary_heads(
    detector: Detector, dataset: str, names: list[str]
) -> Iterator[Finding]:
    """Judge the heads of auxiliary losses: theirs are the detector's, unless set."""
    key = "model.auxiliary.bbox_head.num_classes"
    count = value_at(detector.config, key) if has_key(detector.config, key) else None
    if detector.model is not None and count not in (None, len(names)):
        yield Finding(
            "error",
            key,
            f"the auxiliary heads tell {count} classes apart; {dataset} has "
            f"{len(names)} {_short(names)}",
            "leave it out, and the auxiliary heads take the detector's",
            {key: len(names)},
        )


def _one_name(key: str, name: str) -> Finding:
    return Finding(
        "error",
        key,
        f"{name!r} is a text, not a tuple: every letter would be a class",
        "one class needs a comma behind it: ('person',)",
        {key: (name,)},
    )


def _datasets(
    config: Mapping[str, Any], split: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the datasets inside their wrappers, with their keys."""
    root = f"{split}_dataloader.dataset"
    dataset = value_at(config, root)
    if not isinstance(dataset, Mapping):
        return
    for key, node in walk(dataset):
        inner = key.split(".")[-1]
        place = (
            key == ""
            or inner == "dataset"
            or ".".join(key.split(".")[-2:-1]) == "datasets"
        )
        wrapper = "dataset" in node or "datasets" in node
        if place and not wrapper and "type" in node:
            yield (f"{root}.{key}" if key else root), node


def _class_names(dataset: Mapping[str, Any]) -> Any:
    metainfo = dataset.get("metainfo")
    if isinstance(metainfo, Mapping):
        # mmdet's older spelling is accepted by its datasets as well.
        for name in ("classes", "CLASSES"):
            if name in metainfo:
                return metainfo[name]
    return _default(dataset, "classes")


def _default(dataset: Mapping[str, Any], name: str) -> Any:
    kind = dataset["type"]
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return getattr(kind, "METAINFO", {}).get(name)


def _short(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"({shown}{', ...' if len(names) > 3 else ''})"
