"""Rules of the rest of a config: imports, classes, weights, batches, training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmdet.registry
import torch
from mmdet.datasets.base_video_dataset import BaseVideoDataset
from mmdet.registry import DATASETS
from mmengine.fileio import list_from_file
from mmengine.registry import Registry

from ..config_tools import type_name, unwrap_dataset, value_at, walk
from ..messages import one_line
from .maps import meta_maps
from .measure import LANGUAGE_MODEL, Detector
from .problem import Problem, Problems

PACKAGE = "fpn_necks"
SPLITS = ("train", "val", "test")
# Objectness, or other classes than those of boxes, as in mmdet's NumClassCheckHook.
_OTHER_CLASSES = {"rpn_head", "semantic_head", "panoptic_fusion_head"}


def import_names(config: Mapping[str, Any]) -> list[str]:
    """Return the modules that the config's ``custom_imports`` name."""
    imports = value_at(config, "custom_imports.imports") or []
    return [imports] if isinstance(imports, str) else list(imports)


def imports(detector: Detector) -> Problems:
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


def classes(detector: Detector) -> Problems:
    """Do the heads tell apart as many classes as the data have?"""
    found: dict[str, list[str]] = {}
    kinds: set[str] = set()
    for split in SPLITS:
        root = f"{split}_dataloader.dataset"
        for key, dataset in unwrap_dataset(value_at(detector.config, root) or {}, root):
            # mmdet's older spelling is accepted by its datasets as well.
            own = value_at(dataset, "metainfo.classes") or value_at(
                dataset, "metainfo.CLASSES"
            )
            kind = dataset.get("type")
            kind = DATASETS.get(kind) if isinstance(kind, str) else kind
            names = own or getattr(kind, "METAINFO", {}).get("classes")
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
            # The default classes of another dataset are no mistake, nor are those of
            # videos, whose metrics compare tracks.
            is_same = kind in kinds and not issubclass(kind, BaseVideoDataset)
            if names and (own or not found or is_same):
                found[key] = list(names)
                kinds.add(kind)
    # A language model reads the classes' names: each dataset may have its own.
    if not found or value_at(detector.config, f"model.{LANGUAGE_MODEL}") is not None:
        return
    first, names = next(iter(found.items()))
    for key, others in found.items():
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
    things = [kind.METAINFO.get("thing_classes", ()) for kind in kinds if kind]
    counts = {len(names), *map(len, things)} - {0}
    wrong = {}
    for name, module in detector.modules():
        count, path = getattr(module, "num_classes", None), name.split(".")
        is_head = any(part.endswith("_head") for part in path[-2:])
        key = detector.key_of(name)
        if key and is_head and type(count) is int and count not in counts:
            if not _OTHER_CLASSES & set(path):
                wrong[f"{key}.num_classes"] = f"{type(module).__name__} tells", count
    key = "model.auxiliary.bbox_head.num_classes"
    count = value_at(detector.config, key)
    if detector.model is not None and count not in (None, len(names)):
        wrong[key] = "the auxiliary heads tell", count
    for key, (who, count) in wrong.items():
        yield Problem(
            "error",
            key,
            f"{who} {count} classes apart; {first} has {len(names)} {_some(names)}",
            "take the number of the dataset's classes",
            {key: len(names)},
        )


def _some(names: Sequence[str]) -> str:
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def weights(detector: Detector) -> Problems:
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
        elif not path.is_file():
            level = "error"
            remedy = "correct the path, or None: start from random weights"
            if path.parts[0] == "work_dirs":  # where mmdet's tools write
                level, name = "warning", path.parent.name
                remedy = f"train {name} first, which writes it; or None: do without"
            detail = f"there is no file {place} (seen from {Path.cwd()})"
            yield Problem(level, key, detail, remedy, {switch: None})


def batches(detector: Detector) -> Problems:
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


def auxiliary(detector: Detector) -> Problems:
    """Do auxiliary losses reach something that trains?"""
    for text in detector.build_warnings:
        yield Problem("warning", "model.auxiliary", text)


def ignored_boxes(detector: Detector) -> Problems:
    """Do assigners heed the boxes that a dataset marks as ignored?"""
    root = "train_dataloader.dataset"
    dataset = value_at(detector.config, root)
    kept = isinstance(dataset, Mapping) and any(
        type_name(inner) == "TinyPersonDataset"
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
