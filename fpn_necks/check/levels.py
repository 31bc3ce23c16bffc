"""Rules of levels: does each part get the maps that it expects?"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from fpn_necks.layers import StatisticFusionFactor

from ..config_tools import type_name, value_at, walk
from .measure import Detector, Head, MapSize, meta_maps
from .problem import Problem, Problems

_ROI_HEADS = re.compile(r"roi_head\.(bbox|mask|grid|keypoint)_head(\.\d+)?")


def first_stage(detector: Detector) -> Problems:
    """Does the neck take the maps that the backbone gives?"""
    if not detector.neck_keys or not detector.backbone or detector.stages_run:
        return
    key = f"{detector.neck_keys[0]}.in_channels"
    expected = value_at(detector.config, key)
    found = [size.channels for size in detector.backbone]
    # YOLOv3's neck takes the maps from the coarsest to the finest.
    if not _is_list(expected) or list(expected) in (found, found[::-1]):
        return
    chosen = value_at(detector.config, "model.backbone.out_indices")
    chosen = "" if chosen is None else f" (out_indices={tuple(chosen)})"
    yield Problem(
        "error",
        key,
        f"the neck expects {len(expected)} backbone maps of {list(expected)} channels; "
        f"the backbone gives {len(found)} of {found}{chosen}",
        f"set in_channels={found}, and start_level and num_outs to what the heads "
        "expect; or change the backbone's out_indices",
    )


def fusion_factors(detector: Detector) -> Problems:
    """Are α that lower what they weigh, and are those of statistics counted?"""
    for key in detector.neck_keys:
        factor = value_at(detector.config, f"{key}.fusion_factor")
        factor = value_at(factor, "factor", factor)
        fixed = factor if _is_list(factor) else [factor]
        if any(not isinstance(x, int | float) for x in fixed) or set(fixed) == {1}:
            continue  # 1 everywhere is plain FPN
        if max(fixed, default=0) >= 1:
            yield Problem(
                "note",
                f"{key}.fusion_factor",
                f"α = {max(fixed)}: S-α FPN lowers what comes from coarser levels, for "
                "data sets whose objects lie on the finest ones; this does not",
                "`fpn-necks alpha` counts α in your data; 1 everywhere is plain FPN",
            )
    counted = [
        name
        for name, module in detector.modules()
        if isinstance(module, StatisticFusionFactor) and module.num_connections
    ]
    hooks = list(detector.config.get("custom_hooks") or [])
    if counted and not any(type_name(x) == "FusionFactorHook" for _, x in walk(hooks)):
        loaded = detector.config.get("load_from")
        yield Problem(
            "warning" if loaded else "error",
            "custom_hooks",
            f"{counted[0]} is counted from the training set by FusionFactorHook, which "
            "is not among custom_hooks"
            + ("; load_from must bring its numbers" if loaded else ""),
            "add dict(type='FusionFactorHook'), or give numbers as fusion_factor",
        )


def strides(detector: Detector) -> Problems:
    """Are the strides of anchors, points and RoI extractors those of the maps?"""
    maps = detector.outputs
    if not maps:
        return
    found = [size.stride for size in maps]
    if not detector.heads:
        yield Problem(
            "note",
            "model",
            f"{type(detector.model).__name__} has no anchors, points or RoI extractor "
            f"that say strides: those of its maps, {found}, are not checked",
        )
    for head in detector.heads:
        if not head.fits(maps):
            expected = list(head.strides)
            count = len(expected)
            number = f"{count} maps of " * (head.reads_all and count != len(maps))
            kind = type(head.module).__name__
            fitting = found if head.reads_all else found[:count]
            yield Problem(
                "error",
                head.key,
                f"{kind} expects {number}strides {expected}; it gets {len(maps)} maps "
                f"of strides {found}",
                f"{_other_levels(detector, head, maps)}set {head.key} to {fitting}",
            )
        ranges = getattr(head.module, "regress_ranges", None)
        # With wrong strides the default ranges belong to those.
        if _is_list(ranges) and len(ranges) != len(maps) == len(head.strides):
            yield Problem(
                "error",
                f"{head.key.rsplit('.', 1)[0]}.regress_ranges",
                f"{len(ranges)} ranges of regression for {len(maps)} maps",
                "give one per map; FCOS's own end at 8 times the stride",
            )


def _other_levels(detector: Detector, head: Head, maps: Sequence[MapSize]) -> str:
    """Name the levels of the neck that have a head's strides."""
    key = next(iter(detector.neck_keys), "")
    neck = value_at(detector.config, key)
    doubled = all(coarse == 2 * fine for fine, coarse in pairwise(head.strides))
    if not head.reads_all or not doubled or value_at(neck, "num_outs") is None:
        return ""
    shift = round(math.log2(head.strides[0] / maps[0].stride))
    start = max(neck.get("start_level", 0) + shift, 0)
    return f"set {key}.start_level={start} and num_outs={len(head.strides)}, or "


def channels(detector: Detector) -> Problems:
    """Do heads and RoI extractors have the width of the maps?"""
    maps = detector.outputs
    if not maps:
        return
    found: dict[str, tuple[str, Any, Any]] = {}
    for head in detector.heads:
        name, read = "in_channels", list(maps)
        if not head.reads_all:
            name, read = "out_channels", read[: len(head.strides)]
        expected = getattr(head.module, name, None)
        widths: Any = [size.channels for size in read]
        if not _is_list(expected) and len(set(widths)) == 1:
            widths = widths[0]
        given = list(expected) if _is_list(expected) else expected
        if given is None or isinstance(given, str) or given == widths:
            continue
        # Some dense heads have another width than their argument says.
        if not head.reads_all or not _runs(head, maps):
            key = f"{detector.key_of(head.name)}.{name}"
            found[key] = type(head.module).__name__, given, widths
    # RoI heads behind extractors that hand on the width of the maps.
    widths = {size.channels for size in maps}
    shared = getattr(getattr(detector.model, "roi_head", None), "shared_head", None)
    if len(widths) == 1 and shared is None:
        (width,) = widths
        for name, module in detector.modules():
            expected = getattr(module, "in_channels", None)
            key = detector.key_of(name) if _ROI_HEADS.fullmatch(name) else None
            if key and isinstance(expected, int) and expected != width:
                found[f"{key}.in_channels"] = type(module).__name__, expected, width
    for key, (kind, expected, widths) in found.items():
        yield Problem(
            "error",
            key,
            f"{kind} expects {expected} channels; the maps have {widths}",
            f"set {key} to the width of the maps",
        )


def _runs(head: Head, maps: Sequence[MapSize]) -> bool:
    try:
        with torch.no_grad():
            head.module.eval()(meta_maps(maps))
    # A width that does not fit, or an operator without meta form.
    except Exception:
        return False
    return True


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
