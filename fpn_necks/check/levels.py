"""Rules of levels: does each part get the maps that it expects?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.necks import FPN

from fpn_necks.necks import ASFF

from ..config_tools import build_without_weights, type_name, value_at, walk
from ..messages import FPN_ARGUMENTS, SECOND_STAGE, arguments_of, one_line
from .maps import Head, MapSize, meta_maps
from .measure import WRONG_WIDTH, Detector, error_words
from .problem import Problem, Problems

_ROI_HEADS = re.compile(r"roi_head\.(bbox|mask|grid|keypoint)_head(\.\d+)?")


def second_stage(detector: Detector) -> Problems:
    """Is ASFF, which refines maps, given the backbone's?"""
    neck = value_at(detector.config, "model.neck")
    if type_name(neck) != "ASFF" or not set(FPN_ARGUMENTS) & set(neck):
        return
    known, width = arguments_of(FPN) or (), neck.get("out_channels", 256)
    first = {name: value for name, value in neck.items() if name in known}
    yield Problem(
        "error",
        "model.neck",
        f"ASFF refines the maps of another neck: {SECOND_STAGE}",
        "put it behind the neck that the config had",
        {
            "model.neck": [
                dict(type="FPN", **first),
                dict(type="ASFF", in_channels=width, out_channels=width),
            ]
        },
    )


def first_stage(detector: Detector) -> Problems:
    """Does the neck take the maps that the backbone gives?"""
    backbone = detector.maps.backbone
    if not detector.neck_keys or not backbone:
        return
    key = detector.neck_keys[0]
    stage = value_at(detector.config, key)
    expected, found = stage.get("in_channels"), [size.channels for size in backbone]
    ran = bool(detector.maps.stages)
    # YOLOv3's neck takes the maps from the coarsest to the finest.
    fits = not _is_list(expected) or list(expected) in (found, found[::-1])
    if not ran and not fits:
        out_indices = value_at(detector.config, "model.backbone.out_indices")
        chosen = "" if out_indices is None else f" (out_indices={tuple(out_indices)})"
        changes = detector.fitting_levels() or {f"{key}.in_channels": found}
        yield Problem(
            "error",
            f"{key}.in_channels",
            f"the neck expects {len(expected)} backbone maps of {list(expected)} "
            f"channels; the backbone gives {len(found)} of {found}{chosen}",
            "name the maps that there are, or change the backbone's out_indices",
            changes,
        )
    elif detector.failed_key == "model.neck" and detector.build_error is not None:
        changes = detector.fitting_levels()
        named = str(detector.build_error).split(" ")[0]
        if changes:
            yield Problem(
                "error",
                f"{key}.{named}" if named in (*FPN_ARGUMENTS, "in_channels") else key,
                f"the neck cannot be built: {error_words(detector)}",
                "with these levels it gives the strides that the heads expect",
                changes,
            )


def later_stages(detector: Detector) -> Problems:
    """Does each further stage of the neck take the maps of the one before?"""
    failed = len(detector.maps.stages)
    if detector.build_error or detector.maps.error is None:
        return
    if not 0 < failed < len(detector.neck_keys):
        return
    stage, key = detector.stages[failed], detector.neck_keys[failed]
    given = detector.maps.stages[-1]
    read = given
    if isinstance(stage, ASFF):
        if stage.num_fused > len(given):
            yield Problem(
                "error",
                f"{key}.num_fused",
                f"ASFF fuses {stage.num_fused} levels; the stage before it gives "
                f"{len(given)}",
                "fuse as many as there are",
                {f"{key}.num_fused": len(given)},
            )
            return
        coarse_first = stage.order == "coarse_to_fine"
        read = given[-stage.num_fused :] if coarse_first else given[: stage.num_fused]
    expected = value_at(detector.config, f"{key}.in_channels")
    widths = [size.channels for size in read]
    wanted = list(expected) if _is_list(expected) else [expected] * len(widths)
    if expected is not None and widths != wanted:
        yield Problem(
            "error",
            f"{key}.in_channels",
            f"{type(stage).__name__} expects {expected} channels; the stage before it "
            f"gives {widths}",
            "take the width of the stage before",
            {f"{key}.in_channels": widths if _is_list(expected) else widths[0]},
        )


def fusion_factors(detector: Detector) -> Problems:
    """Is there one α below 1 per connection, and are statistics counted?"""
    for key in detector.neck_keys:
        stage = value_at(detector.config, key)
        given = {
            name: value_at(stage, name)
            for name in ("fusion_factor.factor", "fusion_factor.init", "fusion_factor")
        }
        numbers = (
            k for k, v in given.items() if isinstance(v, list | tuple | float | int)
        )
        name = next(numbers, "")
        if not name:
            continue
        values, name = given[name], f"{key}.{name}"
        if _is_list(values) and detector.failed_key == "model.neck":
            yield from _number_of_factors(detector, name, stage, values)
        fixed = values if _is_list(values) else [values]
        raised = max(fixed, default=0) >= 1 and set(fixed) != {1}  # 1: plain FPN
        if raised and not name.endswith(".init"):
            yield Problem(
                "note",
                name,
                f"α = {max(fixed)}: S-α FPN lowers what comes from coarser levels, for "
                "data sets whose objects lie on the finest ones; this does not",
                "`fpn-necks alpha` counts α in your data; 1 everywhere is plain FPN",
            )
    counted = [
        name
        for name, module in detector.modules()
        if type(module).__name__ == "StatisticFusionFactor" and module.num_connections
    ]
    hooks = list(detector.config.get("custom_hooks") or [])
    if counted and not any(type_name(x) == "FusionFactorHook" for _, x in walk(hooks)):
        loaded = detector.config.get("load_from")
        plain = [dict(x) if isinstance(x, Mapping) else x for x in hooks]
        yield Problem(
            "warning" if loaded else "error",
            "custom_hooks",
            f"{counted[0]} is counted from the training set by FusionFactorHook, which "
            "is not among custom_hooks"
            + ("; load_from must bring its numbers" if loaded else ""),
            "add the hook, or give numbers as fusion_factor",
            {"custom_hooks": [*plain, dict(type="FusionFactorHook")]},
        )


def _number_of_factors(
    detector: Detector, name: str, stage: Mapping[str, Any], values: Sequence[float]
) -> Problems:
    try:
        plain = {k: v for k, v in stage.items() if k != "fusion_factor"}
        connections = (
            build_without_weights(dict(plain, fusion_factor=1.0)).levels.num_used - 1
        )
    except Exception:  # something else is wrong with it
        return
    if len(values) == connections or detector.fitting_levels():
        return
    fitting = [*values, *[values[-1] if values else 1.0] * connections][:connections]
    yield Problem(
        "error",
        name,
        f"{len(values)} factors for {connections} top-down connections",
        "give one per connection, the highest resolution first; `fpn-necks alpha` "
        "computes them for your data",
        {name: fitting},
    )


def strides(detector: Detector) -> Problems:
    """Are the strides of anchors, points and RoI extractors those of the maps?"""
    maps = detector.outputs
    if not maps:
        return
    found = [_short_stride(size.stride) for size in maps]
    if not detector.heads:
        yield Problem(
            "note",
            "model",
            f"{type(detector.model).__name__} has no anchors, points or RoI extractor "
            f"that say strides: those of its maps, {found}, are not checked",
        )
    wrong = [head for head in detector.heads if not head.fits(maps)]
    changes = detector.fitting_levels() if wrong else {}
    for head in wrong:
        expected = [_short_stride(stride) for stride in head.strides]
        what = f"strides {expected}"
        if len(expected) != len(maps) and head.reads_all:
            what = f"{len(expected)} maps of {what}"
        mended = found if head.reads_all else found[: len(expected)]
        remedy = (
            "with these levels of the neck all heads get what they expect; or change "
            f"{head.key} to {mended}"
        )
        yield Problem(
            "error",
            head.key,
            f"{head.kind} expects {what}; it gets {len(maps)} maps of strides {found}",
            remedy if changes else "take the strides of the maps",
            changes or {head.key: mended},
        )
    for head in detector.heads:
        ranges = getattr(head.module, "regress_ranges", None)
        key = f"{head.key.rsplit('.', 1)[0]}.regress_ranges"
        own = value_at(detector.config, key) is not None
        # With wrong strides the default ranges belong to those.
        if not _is_list(ranges) or len(ranges) == len(maps):
            continue
        if own or len(head.strides) == len(maps):
            ends = [int(8 * max(size.stride)) for size in maps[:-1]]
            pairs = list(zip([-1, *ends], [*ends, 100000000], strict=True))
            yield Problem(
                "error",
                key,
                f"{len(ranges)} ranges of regression for {len(maps)} maps",
                "give one per map; FCOS's own end at 8 times the stride",
                {key: pairs},
            )


def channels(detector: Detector) -> Problems:
    """Do heads and RoI extractors have the width of the maps?"""
    maps = detector.outputs
    if not maps:
        return
    found: dict[str, Problem] = {}
    extractors = [head for head in detector.heads if not head.reads_all]
    for head in detector.heads:
        check = _dense_head if head.reads_all else _extractor
        for problem in check(detector, head, maps):
            found.setdefault(problem.key, problem)
    widths = {size.channels for size in maps}
    # RoI heads behind extractors that hand on the width of the maps.
    shared = getattr(getattr(detector.model, "roi_head", None), "shared_head", None)
    concat = any(
        getattr(head.module, "aggregation", None) == "concat" for head in extractors
    )
    if extractors and len(widths) == 1 and shared is None and not concat:
        (width,) = widths
        for name, module in detector.modules():
            expected = getattr(module, "in_channels", None)
            key = detector.key_of(name) if _ROI_HEADS.fullmatch(name) else None
            if key and isinstance(expected, int) and expected != width:
                problem = _wrong_width(
                    f"{key}.in_channels", type(module).__name__, expected, width, width
                )
                found.setdefault(problem.key, problem)
    yield from found.values()


def _wrong_width(key: str, kind: str, expected: Any, got: Any, fit: Any) -> Problem:
    return Problem(
        "error",
        key,
        f"{kind} expects {expected} channels; the maps have {got}",
        "take the width of the maps",
        {} if fit is None else {key: fit},
    )


def _dense_head(detector: Detector, head: Head, maps: Sequence[MapSize]) -> Problems:
    """Run the head; where an operator has no meta form, ask for its argument."""
    key = f"{detector.key_of(head.name)}.in_channels"
    argument = getattr(head.module, "in_channels", None)
    widths: Any = [size.channels for size in maps]
    if not _is_list(argument) and len(set(widths)) == 1:
        widths = widths[0]
    given = list(argument) if _is_list(argument) else argument
    if given is None or isinstance(given, str) or given == widths:
        return
    try:
        with torch.no_grad():
            head.module.eval()(meta_maps(maps))
    # It has another width than its argument says (or only the first maps matter).
    except Exception as error:
        if WRONG_WIDTH.search(str(error)) or "meta" in str(error).lower():
            yield _wrong_width(key, head.kind, argument, widths, widths)
        else:
            detail = f"{head.kind} could not be run on the maps: {one_line(error)}"
            yield Problem("note", key, detail)


def _extractor(detector: Detector, head: Head, maps: Sequence[MapSize]) -> Problems:
    read = {size.channels for size in maps[: len(head.strides)]}
    expected = head.module.out_channels
    if getattr(head.module, "aggregation", None) != "concat" and read != {expected}:
        key = f"{detector.key_of(head.name)}.out_channels"
        fit = min(read) if len(read) == 1 else None
        yield _wrong_width(key, head.kind, expected, sorted(read), fit)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _short_stride(stride: tuple[float, float]) -> Any:
    x, y = (int(s) if float(s).is_integer() else round(s, 2) for s in stride)
    return x if x == y else (x, y)
