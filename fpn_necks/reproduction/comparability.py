"""Whether a run's number may stand beside the paper's.

Decided from what a user changed of the row's own config, not from the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from .configs import Flat, annotation_file, datasets, differences, flatten

# Images in the annotation files of the papers' data sets. A file of this name with as
# many images is the same set in another place.
IMAGES = {
    "instances_train2017.json": 118287,
    "instances_val2017.json": 5000,
    "tiny_set_train_all_erase.json": 746,
    "tiny_set_test_all.json": 786,
}

# What changes nothing about a result: where things lie, how fast they are read.
_INDIFFERENT = (
    "backend_args",
    "num_workers",
    "persistent_workers",
    "pin_memory",
    "prefetch_factor",
    "serialize_data",
    "lazy_init",
    "max_refetch",
    "outfile_prefix",
    "collect_device",
    "classwise",
    "with_cp",
)
_SECTIONS = (
    "model",
    "train_dataloader",
    "train_cfg",
    "param_scheduler",
    "optim_wrapper",
    "auto_scale_lr",
    "custom_hooks",
    "load_from",
)
_FILES = ("data_root", "ann_file", "data_prefix", "data_prefix.img")


def evaluated_split(config: Config) -> str:
    """Return ``val`` if the config validates, else ``test``.

    Raises:
        ValueError: If it does neither, so that there would be no number to report.
    """
    for split in ("val", "test"):
        if config.get(f"{split}_dataloader") and config.get(f"{split}_evaluator"):
            return split
    raise ValueError("the config has neither val_evaluator nor test_evaluator")


def deviations(
    own: Config, run: Config, world_size: int, evaluate: bool = True
) -> list[str]:
    """Say in what a run is not the row's own training.

    Args:
        own: The row's config with the row's options.
        run: The config of the run.
        world_size: Number of processes of the run.
        evaluate: Whether the run is evaluated.

    Returns:
        One entry per difference that matters, ``kind: key old -> new``; empty if the
        result may be compared. The kinds are data set, image size, pipeline, schedule,
        learning rate, batch, initial weights, hooks, model and evaluation. Another
        number of GPUs alone is none, since the learning rate is scaled to the batch,
        unless the schedule counts iterations.
    """
    sections = [*_SECTIONS]
    if evaluate:
        split = evaluated_split(run)
        sections += [f"{split}_dataloader", f"{split}_evaluator"]
    old, new = _relevant(own, sections), _relevant(run, sections)
    moved = _moved_files(own, run, sections)
    found = []
    for key, before, after in differences(old, new):
        if key in moved or key.endswith("_dataloader.batch_size"):
            continue
        found.append(f"{_kind(key)}: {key} {before} -> {after}")
    return found + _batch_deviation(own, run, world_size)


def kinds(found: list[str]) -> str:
    """Return the kinds of deviations, each once, such as ``data set, schedule``."""
    return ", ".join(dict.fromkeys(entry.split(":")[0] for entry in found))


def batch_sizes(config: Config, world_size: int) -> tuple[int | None, int | None]:
    """Return the images per step of a run, and those the learning rate is meant for."""
    each = config.train_dataloader.get("batch_size")
    base = (config.get("auto_scale_lr") or {}).get("base_batch_size")
    return (each * world_size if each else None), base


def _relevant(config: Config, sections: list[str]) -> Flat:
    flat = flatten({name: config[name] for name in sections if name in config})
    kept = {}
    for key, value in flat.items():
        if set(key.split(".")) & set(_INDIFFERENT) or value is None:
            continue  # None is how a config unsets what it inherited
        if key.startswith("train_cfg.") and ".val_" in key:
            continue
        kept[key] = value
    return kept


def _kind(key: str) -> str:
    section, _, rest = key.partition(".")
    last = key.split(".")
    if "init_cfg" in last or section == "load_from":
        return "initial weights"
    if section.endswith("_evaluator"):
        return "data set" if key.endswith("ann_file") else "evaluation"
    if section.endswith("_dataloader"):
        if ".pipeline" in key:
            sized = any("scale" in word or "size" in word for word in last)
            return "image size" if sized or "ratio_range" in last else "pipeline"
        return "data set" if rest.startswith("dataset") else "sampling"
    if "batch_augments" in last:
        return "image size"
    names = {
        "model": "model",
        "train_cfg": "schedule",
        "param_scheduler": "schedule",
        "custom_hooks": "hooks",
        "auto_scale_lr": "learning rate",
    }
    if section == "optim_wrapper":
        return "learning rate" if last[-1] == "lr" else "optimizer"
    return names[section]


def _moved_files(own: Config, run: Config, sections: list[str]) -> set[str]:
    """Return the keys of files that only lie in another place."""
    keys: set[str] = set()
    for loader in [name for name in sections if name.endswith("_dataloader")]:
        before = dict(datasets(own, loader))
        for key, dataset in datasets(run, loader):
            if key in before and _same_set(before[key], dataset):
                keys |= {f"{key}.{name}" for name in _FILES}
                evaluator = loader.replace("_dataloader", "_evaluator")
                keys.add(f"{evaluator}.ann_file")
    return keys


def _same_set(own: Any, run: Any) -> bool:
    before, after = annotation_file(own), annotation_file(run)
    if before is None or after is None or before.name != after.name:
        return False
    return after.is_file() and count_images(after) == IMAGES.get(before.name)


def count_images(path: Path) -> int:
    """Return the number of images of a COCO file, without parsing half a gigabyte."""
    return path.read_bytes().count(b'"file_name"')


def _batch_deviation(own: Config, run: Config, world_size: int) -> list[str]:
    batch, _ = batch_sizes(run, world_size)
    each, base = batch_sizes(own, 1)
    wanted = base or each
    if batch == wanted:
        return []
    changed = run.train_dataloader.get("batch_size") != each
    counts_steps = "max_iters" in run.train_cfg
    if not changed and not (counts_steps and base is not None):
        return []
    return [f"batch: {batch} images per step, the row has {wanted}"]
