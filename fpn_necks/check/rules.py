"""The rules: each looks at one thing of a detector and yields its problems."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import mmdet.registry
import torch
from mmdet.models.necks import FPN
from mmdet.registry import DATASETS, MODELS
from mmengine.fileio import list_from_file
from mmengine.registry import Registry

from fpn_necks.necks import ASFF

from ..config_tools import type_name, unwrap_dataset, value_at, walk
from ..messages import FPN_ARGUMENTS, SECOND_STAGE, arguments_of, did_you_mean, one_line
from .measure import (
    LANGUAGE_MODEL,
    WRONG_WIDTH,
    Detector,
    Head,
    MapSize,
    build,
    meta_maps,
)

PACKAGE = "fpn_necks"
SPLITS = ("train", "val", "test")

_UNKNOWN_TYPE = re.compile(r"([\w.]+) is not in the (\S+) registry")
_ROI_HEADS = re.compile(r"roi_head\.(bbox|mask|grid|keypoint)_head(\.\d+)?")
# Objectness, or other classes than those of boxes, as in mmdet's NumClassCheckHook.
_OTHER_CLASSES = {"rpn_head", "semantic_head", "panoptic_fusion_head"}


@dataclass(frozen=True)
class Problem:
    """One problem of a config, or a note.

    Args:
        level: ``error`` keeps the detector from running or makes its results wrong,
            ``warning`` may do so, ``note`` is a hint, or says what was not checked.
        key: the config key it is about, dotted as in ``--cfg-options``.
        detail: what was found, and what was expected.
        remedy: what to do, in words; empty if there is nothing to do.
        changes: dotted key -> value: the change that mends it, as
            ``Config.merge_from_dict`` takes it. Empty if only the user can know.
        place: ``file:line``, where it is not that of the key.
    """

    level: Literal["error", "warning", "note"]
    key: str
    detail: str
    remedy: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""


Problems = Iterator[Problem]


def find_problems(detector: Detector) -> list[Problem]:
    """Apply all rules.

    Args:
        detector: from ``examine``.

    Returns:
        The problems, causes before their consequences: if building or running failed
        and a rule has found out why, the failure itself is a note.
    """
    problems = [problem for rule in RULES for problem in rule(detector)]
    explained = any(_is_of_model(problem) for problem in problems)
    for problem in _failure(detector):
        if explained and problem.level == "error":
            remedy = "a consequence of the above; mend that first"
            problem = replace(problem, level="note", remedy=remedy, changes={})
        problems.append(problem)
    return problems


def _is_of_model(problem: Problem) -> bool:
    key = problem.key.split(".")
    about_maps = key[0] == "model" and key[-1] not in ("num_classes", "checkpoint")
    return problem.level == "error" and (about_maps or key[0] == "custom_imports")


def import_names(config: Mapping[str, Any]) -> list[str]:
    """Return the modules that the config's ``custom_imports`` name."""
    imports = value_at(config, "custom_imports.imports") or []
    return [imports] if isinstance(imports, str) else list(imports)


def _imports(detector: Detector) -> Problems:
    """Are our types imported, and do other imports work?"""
    for name, reason in detector.failed_imports.items():
        yield Problem(
            "error",
            "custom_imports.imports",
            f"{name} cannot be imported: {reason}",
            "install it, or add its folder to PYTHONPATH, or remove it from the list",
        )
    registries = [r for r in vars(mmdet.registry).values() if isinstance(r, Registry)]
    own = {
        name
        for registry in registries
        for name, kind in registry.module_dict.items()
        if kind.__module__.split(".")[0] == PACKAGE
    }
    # A class in the place of its name (pure-Python configs) was imported.
    ours = [
        (f"{key}.type" if key else "type", node["type"])
        for key, node in walk(detector.config)
        if isinstance(node.get("type"), str) and type_name(node) in own
    ]
    names = import_names(detector.config)
    if not ours or any(name.split(".")[0] == PACKAGE for name in names):
        return
    key, name = ours[0]
    also = f" (and {len(ours) - 1} more of ours)" if len(ours) > 1 else ""
    unless = f" unless {' or '.join(names)} imports it" if names else ""
    imports = dict(imports=[PACKAGE, *names], allow_failed_imports=False)
    yield Problem(
        "warning" if names else "error",
        "custom_imports",
        f"{key} is {name}{also}, of fpn_necks, which the config does not import: mmdet "
        f'will say that it is "not in the registry"{unless}',
        "write it into the config file; on the command line it comes too late",
        {"custom_imports": imports},
    )


def _second_stage(detector: Detector) -> Problems:
    """Is ASFF, which refines maps, given the backbone's?"""
    neck = value_at(detector.config, "model.neck")
    if type_name(neck) != "ASFF" or not set(FPN_ARGUMENTS) & set(neck):
        return
    known = arguments_of(FPN) or ()
    first = {name: value for name, value in neck.items() if name in known}
    yield Problem(
        "error",
        "model.neck",
        f"ASFF refines the maps of another neck: {SECOND_STAGE}",
        "put it behind the neck that the config had",
        {
            "model.neck": [
                dict(type="FPN", **first),
                dict(type="ASFF", in_channels=neck.get("out_channels", 256)),
            ]
        },
    )


def _first_stage(detector: Detector) -> Problems:
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
        changes = detector.fitting_levels()
        if not changes:  # name all maps; keep on using the same ones
            changes = {f"{key}.in_channels": found}
            start = stage.get("start_level", 0)
            used = list(expected)[start:]
            for offset in range(len(found) - len(used) + 1):
                if found[offset : offset + len(used)] == used and offset != start:
                    changes[f"{key}.start_level"] = offset
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
                f"the neck cannot be built: {_words(detector)}",
                "with these levels it gives the strides that the heads expect",
                changes,
            )


def _later_stages(detector: Detector) -> Problems:
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


def _fusion_factors(detector: Detector) -> Problems:
    """Is there one α below 1 per connection, and are statistics counted?"""
    for key in detector.neck_keys:
        stage = value_at(detector.config, key)
        name = next(
            (
                name
                for name in ("factor.factor", "factor.init", "factor")
                if isinstance(
                    value_at(stage, f"fusion_{name}"), list | tuple | float | int
                )
            ),
            None,
        )
        if name is None:
            continue
        name = f"{key}.fusion_{name}"
        values = value_at(detector.config, name)
        if _is_list(values) and detector.failed_key == "model.neck":
            yield from _number_of_factors(detector, name, stage, values)
        fixed = values if _is_list(values) else [values]
        raised = max(fixed, default=0) >= 1 and set(fixed) != {1}  # 1: plain FPN
        if raised and not name.endswith(".init"):
            yield Problem(
                "warning",
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
        connections = build(dict(plain, fusion_factor=1.0)).levels.num_used - 1
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


def _strides(detector: Detector) -> Problems:
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


def _channels(detector: Detector) -> Problems:
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


def _classes(detector: Detector) -> Problems:
    """Do the heads tell apart as many classes as the data have?"""
    classes: dict[str, list[str]] = {}
    kinds: list[str] = []
    for split in SPLITS:
        root = f"{split}_dataloader.dataset"
        whole = value_at(detector.config, root)
        if not isinstance(whole, Mapping):
            continue
        for key, dataset in unwrap_dataset(whole, root):
            # mmdet's older spelling is accepted by its datasets as well.
            own = value_at(dataset, "metainfo.classes") or value_at(
                dataset, "metainfo.CLASSES"
            )
            names = own or _default(dataset, "classes")
            if isinstance(names, str):
                try:
                    names = list_from_file(names)
                except (OSError, TypeError, ValueError):
                    yield Problem(
                        "error",
                        f"{key}.metainfo.classes",
                        f"{names!r} is a text and no file of classes, not a tuple: "
                        "every letter would be a class",
                        "one class needs a comma behind it: ('person',)",
                        {f"{key}.metainfo.classes": (names,)},
                    )
                    return
            # The default classes of another dataset (of tracks) are no mistake.
            if names and (own or not kinds or type_name(dataset) in kinds):
                classes[key] = list(names)
                kinds.append(type_name(dataset))
    if not classes:
        return
    first, names = next(iter(classes.items()))
    for key, others in classes.items():
        if others != names:
            yield Problem(
                "error",
                f"{key}.metainfo.classes",
                f"{len(others)} classes {_some(others)}, where {first} has "
                f"{len(names)} {_some(names)}: labels mean other things",
                "name the same classes in the same order",
                {f"{key}.metainfo.classes": tuple(names)},
            )
    # Of panoptic data, heads of boxes tell only things apart.
    things = _default(value_at(detector.config, first), "thing_classes") or ()
    seen = set()
    for name, module in detector.modules():
        count, path = getattr(module, "num_classes", None), name.split(".")
        is_head = any(part.endswith("_head") for part in path[-2:])
        key = f"{detector.key_of(name)}.num_classes"
        if not is_head or _OTHER_CLASSES & set(path) or type(count) is not int:
            continue
        if (
            detector.key_of(name)
            and key not in seen
            and count
            not in (
                len(names),
                len(things),
            )
        ):
            seen.add(key)
            yield Problem(
                "error",
                key,
                f"{type(module).__name__} tells {count} classes apart; {first} has "
                f"{len(names)} {_some(names)}",
                "take the number of the dataset's classes",
                {key: len(names)},
            )
    key = "model.auxiliary.bbox_head.num_classes"
    count = value_at(detector.config, key)
    if detector.model is not None and count not in (None, len(names)):
        yield Problem(
            "error",
            key,
            f"the auxiliary heads tell {count} classes apart; {first} has "
            f"{len(names)} {_some(names)}",
            "leave it out, and the auxiliary heads take the detector's",
            {key: len(names)},
        )


def _default(dataset: Mapping[str, Any], name: str) -> Any:
    kind = dataset.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return getattr(kind, "METAINFO", {}).get(name)


def _some(names: Sequence[str]) -> str:
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _weights(detector: Detector) -> Problems:
    """Are the weights there that the config wants to load?"""
    wanted = [("load_from", "load_from", detector.config.get("load_from"))]
    for key, node in walk(detector.config.get("model") or {}, "model"):
        if type_name(node).startswith("Pretrained"):
            wanted.append((f"{key}.checkpoint", key, node.get("checkpoint")))
        for name in ("pretrained", "teacher_ckpt"):
            wanted.append((f"{key}.{name}", f"{key}.{name}", node.get(name)))
    for key, switch, place in wanted:
        if not isinstance(place, str) or not place:
            continue
        path = Path(place.removeprefix("file://")).expanduser()
        # A scheme, or a backend such as s3: of mmengine; c: is a drive.
        if re.match(r"[\w+-]{2,}:", place) and not place.startswith("file://"):
            yield Problem("note", key, f"needs download (or a cached copy): {place}")
        elif path.is_file():
            continue
        elif path.parts[0] == "work_dirs":  # where mmdet's tools write
            yield Problem(
                "warning",
                key,
                f"there is no file {place} (seen from {Path.cwd()})",
                f"train {path.parent.name} first, which writes it; or None: do without",
                {switch: None},
            )
        else:
            yield Problem(
                "error",
                key,
                f"there is no file {place} (seen from {Path.cwd()})",
                "correct the path, or None: start from random weights",
                {switch: None},
            )


def _batches(detector: Detector) -> Problems:
    """Does each batch fit the neck, and the learning rate the batch?"""
    loader = value_at(detector.config, "train_dataloader") or {}
    images = value_at(loader, "batch_size")
    if type(images) is not int:
        return
    error = _refusal_of_one_image(detector)
    place = "batch_sampler." if loader.get("batch_sampler") else ""
    drops = value_at(loader, f"{place}drop_last")
    if error and images == 1:
        yield Problem(
            "error",
            "train_dataloader.batch_size",
            f"the neck cannot be trained with one image: {error}",
            "take two images or more, or GN as that normalisation",
            {"train_dataloader.batch_size": 2},
        )
    elif error and not drops and "Infinite" not in type_name(loader.get("sampler")):
        key = f"train_dataloader.{place}drop_last"
        yield Problem(
            "warning",
            key,
            "the last batch of an epoch can be one image, with which the neck cannot "
            f"be trained: {error}",
            "leave such a batch out",
            {key: True},
        )
    base = value_at(detector.config, "auto_scale_lr.base_batch_size")
    rate = value_at(detector.config, "optim_wrapper.optimizer.lr")
    enabled = value_at(detector.config, "auto_scale_lr.enable")
    if type(base) is int and base != images and rate is not None and not enabled:
        processes = f"{base // images} processes, or " if base % images == 0 else ""
        yield Problem(
            "note",
            "auto_scale_lr.base_batch_size",
            f"the learning rate {rate} is for {base} images per step; one process has "
            f"{images}",
            f"train with {processes}--auto-scale-lr",
            {"auto_scale_lr.enable": True},
        )


def _refusal_of_one_image(detector: Detector) -> str:
    """Run the neck as in training: normalising pooled maps needs two images."""
    inputs = detector.maps.backbone
    if not detector.outputs or detector.maps.device != "meta" or not inputs:
        return ""
    maps: Any = meta_maps(inputs)
    try:
        with torch.no_grad():
            for stage in detector.stages:
                maps = stage.train()(maps)
    except ValueError as error:
        return one_line(error)
    except RuntimeError:  # an operator without meta form: not checked
        return ""
    finally:
        for stage in detector.stages:
            stage.eval()
    return ""


def _auxiliary(detector: Detector) -> Problems:
    """Do auxiliary losses reach something that trains?"""
    for text in detector.build_warnings:
        yield Problem("warning", "model.auxiliary", text)


def _ignored_boxes(detector: Detector) -> Problems:
    """Do assigners heed the boxes that a dataset marks as ignored?"""
    root = "train_dataloader.dataset"
    dataset = value_at(detector.config, root)
    kept = isinstance(dataset, Mapping) and any(
        type_name(inner) == "TinyPersonDataset"
        and value_at(inner, "ignored_fields", True)
        for _, inner in unwrap_dataset(dataset, root)
    )
    for key, node in walk(value_at(detector.config, "model.train_cfg") or {}):
        if kept and type_name(node) == "MaxIoUAssigner":
            if node.get("ignore_iof_thr", -1) <= 0:
                key = f"model.train_cfg.{key}.ignore_iof_thr"
                yield Problem(
                    "note",
                    key,
                    "ignored boxes of the data are background to this assigner",
                    "set it, or erase these regions (`fpn-necks tiny-person erase`)",
                    {key: 0.5},
                )


def _failure(detector: Detector) -> Problems:
    """Can the detector be built and run at all?"""
    model = detector.model
    if detector.build_error is not None:
        yield _build_failure(detector, detector.build_error)
    elif value_at(detector.config, f"model.{LANGUAGE_MODEL}") is not None:
        yield Problem(
            "note",
            f"model.{LANGUAGE_MODEL}",
            "a language model is downloaded when it is built: the model is not built, "
            "its maps and heads are not checked",
        )
    elif model is None:
        yield Problem("note", "model", "the config has no model: nothing is checked")
    elif not detector.can_extract:
        yield Problem(
            "note",
            "model.type",
            f"{type(model).__name__} is no detector with backbone and extract_feat: "
            "its maps are not checked",
        )
    elif detector.maps.error is not None:
        yield _run_failure(detector, detector.maps.error)


def _build_failure(detector: Detector, error: Exception) -> Problem:
    if "process group" in str(error):
        return Problem(
            "note",
            detector.failed_key,
            "is built in a distributed run only (synchronised normalisation); its maps "
            "and heads are not checked",
        )
    unknown = _UNKNOWN_TYPE.search(str(error))
    if unknown is None:
        return Problem(
            "error",
            detector.failed_key,
            f"cannot be built: {_words(detector)}",
            "change the argument that the message names",
        )
    name, registry = unknown.groups()
    keys = [f"{key}.type" for key, x in walk(detector.config) if x.get("type") == name]
    key = next((k for k in keys if k.startswith("model.")), detector.failed_key)
    hint = did_you_mean(name, MODELS.module_dict)
    similar = hint.split("'")[1] if hint else ""
    named = f"the most similar name is {similar}; or " if similar else ""
    return Problem(
        "error",
        key,
        f"{name} is not in the {registry} registry",
        f"{named}name the module that registers it in custom_imports",
        {key: similar} if similar and key.endswith(".type") else {},
    )


def _run_failure(detector: Detector, error: Exception) -> Problem:
    maps, keys, stages = detector.maps, detector.neck_keys, detector.stages
    if maps.backbone is None:
        key, part = "model.backbone", "the backbone"
    else:
        # Without a neck of stages it is the detector's own extract_feat.
        index = min(len(maps.stages), max(len(keys) - 1, 0))
        key = keys[index] if keys else "model"
        named = index < len(stages)
        part = type(stages[index]).__name__ if named else "the detector"
    if maps.device == "cpu" and isinstance(error, TypeError | AttributeError):
        # Detectors that read texts or several images have another way in.
        detail = f"{part} does not take an image alone: {one_line(error)}"
        return Problem("note", key, detail)
    if "device cpu not found" in str(error):
        detail = f"{part} has an operator that needs a GPU: its maps are not checked"
        return Problem("note", key, detail)
    return Problem(
        "error",
        key,
        f"{part} cannot be run: {one_line(error)}",
        "change the argument that the message names",
    )


def _words(detector: Detector) -> str:
    return one_line(detector.build_error, detector.config)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _short_stride(stride: tuple[float, float]) -> Any:
    x, y = (int(s) if float(s).is_integer() else round(s, 2) for s in stride)
    return x if x == y else (x, y)


RULES: tuple[Callable[[Detector], Problems], ...] = (
    _imports,
    _second_stage,
    _first_stage,
    _later_stages,
    _fusion_factors,
    _strides,
    _channels,
    _classes,
    _weights,
    _batches,
    _auxiliary,
    _ignored_boxes,
)
