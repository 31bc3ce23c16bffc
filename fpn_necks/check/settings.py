"""Rules of the rest of a config: imports, classes, weights, batches, training."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
from .measure import LANGUAGE_MODEL, Detector, import_names, meta_maps
from .problem import Problem, Problems

PACKAGE = "fpn_necks"
# Objectness, or other classes than those of boxes, as in mmdet's NumClassCheckHook.
_OTHER_CLASSES = {"rpn_head", "semantic_head", "panoptic_fusion_head"}


def imports(detector: Detector) -> Problems:
    """Are our types imported, and do other imports work?"""
    names = import_names(detector.config)
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
        f"{key}.type is {node['type']}"
        for key, node in walk(detector.config)
        if isinstance(node.get("type"), str) and type_name(node) in own
    ]
    if ours and not any(name.split(".")[0] == PACKAGE for name in names):
        unless = f" unless {' or '.join(names)} imports it" if names else ""
        yield Problem(
            "warning" if names else "error",
            "custom_imports",
            f"{ours[0]}, of fpn_necks, which the config does not import: mmdet will "
            f'say that it is "not in the registry"{unless}',
            "write into the config file: custom_imports = dict("
            f"imports={[PACKAGE, *names]}, allow_failed_imports=False)",
        )


def classes(detector: Detector) -> Problems:
    """Do the heads tell apart as many classes as the data have?"""
    # A language model reads the classes' names: each dataset may have its own.
    if value_at(detector.config, f"model.{LANGUAGE_MODEL}") is not None:
        return
    found: dict[str, list[str]] = {}
    kinds: set[Any] = set()
    for split in ("train", "val", "test"):
        root = f"{split}_dataloader.dataset"
        for key, dataset in unwrap_dataset(value_at(detector.config, root) or {}, root):
            own = value_at(dataset, "metainfo.classes")
            kind = dataset.get("type")
            kind = DATASETS.get(kind) if isinstance(kind, str) else kind
            names = own or getattr(kind, "METAINFO", {}).get("classes")
            if isinstance(names, str):
                if not Path(names).is_file():
                    yield Problem(
                        "error",
                        f"{key}.metainfo.classes",
                        f"{names!r} is a text and no file of classes, not a tuple: "
                        "every letter would be a class",
                        f"one class needs a comma behind it: ({names!r},)",
                    )
                    return
                names = list_from_file(names)
            # The default classes of another dataset are no mistake, nor are those of
            # videos, whose metrics compare tracks.
            is_same = kind in kinds - {None} and not issubclass(kind, BaseVideoDataset)
            if names and (own or not found or is_same):
                found[key] = list(names)
                kinds.add(kind)
    if not found:
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
            )
    # Of panoptic data, heads of boxes tell only things apart.
    things = [kind.METAINFO.get("thing_classes", ()) for kind in kinds if kind]
    counts = {len(names), *map(len, things)} - {0}
    for key, node in walk(value_at(detector.config, "model") or {}, "model"):
        *_, part = (part for part in key.split(".") if not part.isdigit())
        count = node.get("num_classes")
        is_head = part.endswith("_head") and not _OTHER_CLASSES & set(key.split("."))
        if is_head and type(count) is int and count not in counts:
            yield Problem(
                "error",
                f"{key}.num_classes",
                f"{type_name(node) or part} tells {count} classes apart; {first} has "
                f"{len(names)} {_some(names)}",
                f"set it to {len(names)}",
            )


def _some(names: Sequence[str]) -> str:
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def weights(detector: Detector) -> Problems:
    """Are the weights there that the config wants to load?"""
    wanted = {"load_from": detector.config.get("load_from")}
    for key, node in walk(detector.config.get("model") or {}, "model"):
        if type_name(node).startswith("Pretrained"):
            wanted[f"{key}.checkpoint"] = node.get("checkpoint")
        for name in ("pretrained", "teacher_ckpt"):
            wanted[f"{key}.{name}"] = node.get(name)
    for key, place in wanted.items():
        if not isinstance(place, str) or not place:
            continue
        path = Path(place.removeprefix("file://")).expanduser()
        # A scheme, or a backend such as s3: of mmengine; c: is a drive.
        if re.match(r"[\w+-]{2,}:", place) and not place.startswith("file://"):
            yield Problem("note", key, f"needs download (or a cached copy): {place}")
        elif not path.is_file():
            level, first = "error", "correct the path"
            if path.parts[0] == "work_dirs":  # where mmdet's tools write
                level, first = "warning", f"train {path.parent.name} first"
            detail = f"there is no file {place} (seen from {Path.cwd()})"
            yield Problem(level, key, detail, f"{first}, or start from random weights")


def batches(detector: Detector) -> Problems:
    """Does each batch fit the neck, and the learning rate the batch?"""
    loader = value_at(detector.config, "train_dataloader") or {}
    images = value_at(loader, "batch_size")
    if type(images) is not int:
        return
    error = _refusal_of_one_image(detector)
    sampler = "batch_sampler." if loader.get("batch_sampler") else ""
    drops = value_at(loader, f"{sampler}drop_last")
    if error and images == 1:
        yield Problem(
            "error",
            "train_dataloader.batch_size",
            f"the neck cannot be trained with one image: {error}",
            "take two images or more, or GN as that normalisation",
        )
    elif error and not drops and "Infinite" not in type_name(loader.get("sampler")):
        yield Problem(
            "warning",
            f"train_dataloader.{sampler}drop_last",
            "the last batch of an epoch can be one image, with which the neck cannot "
            f"be trained: {error}",
            "set it to True",
        )
    scaling = value_at(detector.config, "auto_scale_lr") or {}
    base = scaling.get("base_batch_size")
    rate = value_at(detector.config, "optim_wrapper.optimizer.lr")
    if base not in (None, images) and rate is not None and not scaling.get("enable"):
        processes = f"{base // images} processes, or " if base % images == 0 else ""
        yield Problem(
            "note",
            "auto_scale_lr.base_batch_size",
            f"the learning rate {rate} is for {base} images per step; one process has "
            f"{images}",
            f"train with {processes}--auto-scale-lr",
        )


def _refusal_of_one_image(detector: Detector) -> str:
    """Run the neck as in training: normalising pooled maps needs two images."""
    if not detector.outputs or detector.device != "meta" or not detector.backbone:
        return ""
    maps: Any = meta_maps(detector.backbone)
    try:
        with torch.no_grad():
            for stage in detector.neck:
                maps = stage.train()(maps)
    except ValueError as error:
        return one_line(error)
    except RuntimeError:  # an operator without meta form: not checked
        return ""
    finally:
        for stage in detector.neck:
            stage.eval()
    return ""


def auxiliary(detector: Detector) -> Problems:
    """Do auxiliary losses reach something that trains?"""
    for text in detector.warnings:
        yield Problem("warning", "model.auxiliary", text)


def ignored_boxes(detector: Detector) -> Problems:
    """Do assigners heed the boxes that a dataset marks as ignored?"""
    dataset = value_at(detector.config, "train_dataloader.dataset") or {}
    if not any(
        type_name(inner) == "TinyPersonDataset" for _, inner in unwrap_dataset(dataset)
    ):
        return
    for key, node in walk(value_at(detector.config, "model.train_cfg") or {}):
        if type_name(node) == "MaxIoUAssigner" and node.get("ignore_iof_thr", -1) <= 0:
            yield Problem(
                "note",
                f"model.train_cfg.{key}.ignore_iof_thr",
                "ignored boxes of the data are background to this assigner",
                "set it (0.5), or erase them (`fpn-necks tiny-person erase`)",
            )
