"""The config of a row, and what two configs differ in."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import get_installed_path

from fpn_necks.shipped_configs import config_path

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
EVALUATORS = ("val_evaluator", "test_evaluator")
_WRAPPED = ("dataset", "datasets")  # where mmengine's and mmdet's wrappers keep theirs

Flat = dict[str, Any]


def find_config(name: str) -> Path:
    """Return the file of a config as a row names it.

    Args:
        name: ``folder/name`` of a shipped config or ``mmdet::folder/name``, both
            without ``.py``.

    Raises:
        LookupError: If there is no such config.
    """
    if not name.startswith("mmdet::"):
        return config_path(name)
    relative = name.removeprefix("mmdet::") + ".py"
    path = Path(get_installed_path("mmdet")) / ".mim" / "configs" / relative
    if not path.is_file():
        raise LookupError(f"mmdet has no config '{relative}'")
    return path


def load_config(name: str, options: Mapping[str, Any]) -> Config:
    """Read a config and merge options into it, as mmdet's ``--cfg-options`` does.

    The result imports fpn_necks, mmdet's own configs too: resuming a training under
    torch's safe loading needs it.

    Args:
        name: As in ``find_config``.
        options: Values by dotted key.

    Raises:
        LookupError: If there is no such config.
        ValueError: If an option does not fit the config.
    """
    # Rows and seeds share configs, and reading one takes a third of a second.
    config = copy.deepcopy(_read_config(find_config(name)))
    merge_options(config, options)
    imports = config.get("custom_imports") or dict(allow_failed_imports=False)
    modules = imports.get("imports") or []
    modules = [modules] if isinstance(modules, str) else [*modules]
    if "fpn_necks" not in modules:
        config.custom_imports = dict(imports, imports=[*modules, "fpn_necks"])
    return config


@functools.lru_cache(maxsize=64)
def _read_config(path: Path) -> Config:
    return Config.fromfile(path)


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Merge options into a config; a list in the place of a tuple becomes one.

    YAML and command lines have no tuples, and mmdet's ``Resize`` takes nothing else.

    Raises:
        ValueError: If an option does not fit, with mmengine's reason.
    """
    for key, value in options.items():
        try:
            is_tuple = isinstance(_value_at(config, key), tuple)
            fitting = tuple(value) if is_tuple and isinstance(value, list) else value
            config.merge_from_dict({key: fitting})
        except (KeyError, TypeError, IndexError) as error:
            reason = error.args[0] if error.args else error
            raise ValueError(f"option {key}={value!r} does not fit: {reason}") from None


def _value_at(config: Config, key: str) -> Any:
    """Return the value of a dotted key, None if there is none."""
    node: Any = config
    for part in key.split("."):
        if isinstance(node, list | tuple):
            node = node[int(part)] if part.isdigit() and int(part) < len(node) else None
        else:
            node = node.get(part) if hasattr(node, "get") else None
    return node


def datasets(config: Config, loader: str) -> Iterator[tuple[str, Any]]:
    """Go through the data sets of a loader that read files, inside of wrappers.

    Yields:
        The dotted key and the data set's config.
    """
    if config.get(loader):
        yield from _unwrap(f"{loader}.dataset", config[loader].dataset)


def _unwrap(key: str, dataset: Any) -> Iterator[tuple[str, Any]]:
    inner = next((dataset[name] for name in _WRAPPED if name in dataset), None)
    if inner is None:
        yield key, dataset
    elif isinstance(inner, list | tuple):
        for index, item in enumerate(inner):
            yield from _unwrap(f"{key}.datasets.{index}", item)
    else:
        yield from _unwrap(f"{key}.dataset", inner)


def annotation_file(dataset: Any) -> Path | None:
    """Return where a data set reads its annotations, None if it reads none."""
    name = dataset.get("ann_file")
    return Path(dataset.get("data_root") or "") / name if name else None


def evaluators(config: Config, name: str) -> Iterator[tuple[str, Any]]:
    """Go through the metrics of ``val_evaluator`` or ``test_evaluator``."""
    found = config.get(name)
    if isinstance(found, list | tuple):
        for index, item in enumerate(found):
            yield f"{name}.{index}", item
    elif found:
        yield name, found


def set_data_root(config: Config, root: str) -> None:
    """Read the data sets from another folder, laid out as the config's own.

    Args:
        config: Changed in place: the data sets and, where their files are in the same
            folder, the annotation files of the evaluators.
        root: The folder in the place of ``data/coco/`` or whatever the config has.
    """
    new = root.rstrip("/") + "/"
    old_roots = set()
    for loader in LOADERS:
        for _, dataset in datasets(config, loader):
            if dataset.get("data_root"):
                old_roots.add(dataset.data_root)
                dataset.data_root = new
    for name in EVALUATORS:
        for _, evaluator in evaluators(config, name):
            file = evaluator.get("ann_file") or ""
            for old in old_roots:
                if file.startswith(old):
                    evaluator.ann_file = new + file.removeprefix(old).lstrip("/")


def flatten(node: Any, key: str = "") -> Flat:
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
    if not items:
        return {key: node if isinstance(node, list) else {}}
    flat: Flat = {}
    for name, value in items:
        flat |= flatten(value, f"{key}.{name}" if key else name)
    # mmengine marks what a base config of mmdet's brought along; it changes nothing.
    return {k: v for k, v in flat.items() if not k.endswith("_scope_")}


def differences(old: Flat, new: Flat) -> list[tuple[str, str, str]]:
    """Return key, old and new value of what differs; a value not there is ``unset``."""
    keys = dict.fromkeys([*old, *new])
    return [
        (key, _written(old, key), _written(new, key))
        for key in keys
        if key not in old or key not in new or old[key] != new[key]
    ]


def _written(flat: Flat, key: str) -> str:
    return repr(flat[key]) if key in flat else "unset"
