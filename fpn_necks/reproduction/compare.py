"""What two configs differ in, wherever the data lie, and which changes matter."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config_tools import unwrap_dataset

# Images in the annotation files of the papers' data sets, by the files' names. A file
# of another name is a row's own if it is named as the row's config names it.
IMAGES = {
    "instances_train2017.json": 118287,
    "instances_val2017.json": 5000,
    "tiny_set_train_all_erase.json": 746,
    "tiny_set_test_all.json": 786,
}
# Top-level settings, or last parts of a key, that change nothing about a result.
_IGNORED = {
    *("work_dir", "resume", "launcher", "log_level", "env_cfg", "visualizer"),
    *("vis_backends", "log_processor", "default_hooks", "randomness", "custom_imports"),
    *("backend_args", "num_workers", "persistent_workers", "pin_memory"),
    *("prefetch_factor", "serialize_data", "lazy_init", "max_refetch", "data_root"),
    *("outfile_prefix", "collect_device", "classwise", "with_cp", "_scope_"),
    *("val_interval", "val_begin", "default_scope"),
}
# The other sections of a config that decide a result, beside what is evaluated.
_SECTIONS = {
    *("model", "train_cfg", "param_scheduler", "optim_wrapper", "auto_scale_lr"),
    *("custom_hooks", "load_from"),
}
_EVALUATED = ("dataloader", "evaluator")


def flatten(node: Any, key: str = "") -> dict[str, Any]:
    """Return the values of a nested config by dotted key; tuples count as lists."""
    if isinstance(node, Config):
        node = node.to_dict()
    if isinstance(node, Mapping):
        items = [(str(name), value) for name, value in node.items()]
    elif isinstance(node, list | tuple) and any(
        isinstance(item, Mapping | list | tuple) for item in node
    ):
        items = [(str(index), value) for index, value in enumerate(node)]
    else:
        return {key: list(node) if isinstance(node, tuple) else node}
    flat: dict[str, Any] = {} if items else {key: {}}
    for name, value in items:
        flat |= flatten(value, f"{key}.{name}" if key else name)
    return flat


def settings(config: Config, world_size: int) -> dict[str, Any]:
    """Return what decides a run's result, but for the seed, by dotted key.

    Where data and weights lie is no part of it: files count by their names below the
    data sets' roots, others by their own and their folder's name.
    """
    flat = flatten(config)
    roots = {v for k, v in flat.items() if k.endswith("data_root") and v}
    kept = {
        key: _placeless(value, roots)
        for key, value in flat.items()
        # None is how a config unsets what it inherited.
        if not _IGNORED & set(key.split(".")) and value is not None
    }
    return kept | {"world_size": world_size}


def _placeless(value: Any, roots: set[str]) -> Any:
    if not isinstance(value, str) or "/" not in value or "://" in value:
        return value
    path = Path(value)
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    parts = [part for part in path.parts if not re.fullmatch(r"seed\d+", part)]
    return "/".join(parts[-2:])


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Return key, old and new value of what differs; a value not there is ``unset``."""
    return [
        (key, *(repr(flat[key]) if key in flat else "unset" for flat in (old, new)))
        for key in dict.fromkeys([*old, *new])
        if key not in old or key not in new or old[key] != new[key]
    ]


def deviations(
    own: Config, run: Config, world_size: int, evaluate: bool = True
) -> list[str]:
    """Say in what a run is not the row's own training.

    Returns:
        One entry per difference that matters, ``key old -> new``; empty if the result
        may be compared. Another number of GPUs alone is none, since the learning rate
        is scaled to the batch, unless the schedule counts iterations.
    """
    splits = ["train", evaluated_split(run)] if evaluate else ["train"]
    sections = _SECTIONS | {f"{split}_{x}" for split in splits for x in _EVALUATED}
    found = [
        f"{key} {old} -> {new}"
        for key, old, new in differences(settings(own, 1), settings(run, 1))
        if key.split(".")[0] in sections and not key.endswith("_dataloader.batch_size")
    ]
    for split in splits:
        for key, dataset in datasets(run, f"{split}_dataloader"):
            file = annotation_file(dataset)
            if file is not None and file.name in IMAGES and file.is_file():
                images, whole = count_images(file), IMAGES[file.name]
                if images != whole:
                    found.append(f"{key}: {file} has {images} of {whole} images")
    each, base = own.train_dataloader.batch_size, base_batch_size(own)
    batch = run.train_dataloader.batch_size * world_size
    changed = run.train_dataloader.batch_size != each
    counts_steps = "max_iters" in run.train_cfg and base is not None
    if batch != (base or each) and (changed or counts_steps):
        found.append(f"batch of {batch} images per step, the row has {base or each}")
    return found


def sections_of(found: list[str]) -> str:
    """Return what deviates, each once, such as ``train_dataloader, train_cfg``."""
    return ", ".join(dict.fromkeys(re.match(r"\w+", entry)[0] for entry in found))


def base_batch_size(config: Config) -> int | None:
    """Return the images per step that the learning rate is meant for."""
    return (config.get("auto_scale_lr") or {}).get("base_batch_size")


def evaluated_split(config: Config) -> str:
    """Return ``val`` if the config validates, else ``test``; one must be there."""
    for split in ("val", "test"):
        if config.get(f"{split}_dataloader") and config.get(f"{split}_evaluator"):
            return split
    raise ValueError("the config has neither val_evaluator nor test_evaluator")


def datasets(config: Config, loader: str) -> Iterable[tuple[str, Any]]:
    """Return the dotted keys and configs of the data sets inside of wrappers."""
    found = config.get(loader)
    return unwrap_dataset(found.dataset, f"{loader}.dataset") if found else ()


def evaluators(config: Config, name: str) -> list[tuple[str, Any]]:
    """Return the dotted keys and configs of the metrics, one or a list of them."""
    found = config.get(name) or []
    if isinstance(found, list | tuple):
        return [(f"{name}.{index}", metric) for index, metric in enumerate(found)]
    return [(name, found)]


def annotation_file(dataset: Any) -> Path | None:
    """Return where a data set reads its annotations, None if it reads none."""
    name = dataset.get("ann_file")
    return Path(dataset.get("data_root") or "") / name if name else None


@functools.cache
def count_images(path: Path) -> int:
    """Return the number of images in an annotation file, without parsing it."""
    # Every image has a file's name, and nothing else has.
    return path.read_bytes().count(b'"file_name"')
