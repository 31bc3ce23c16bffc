"""Configs: find, load, walk and build them.

mmengine and torch are imported where they are needed, so that a command line can
complete, list and refuse without them.
"""

from __future__ import annotations

import argparse
import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .messages import did_you_mean, one_line
from .shipped_configs import config_path

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

_MISSING = object()


class ConfigError(ValueError):
    """A config, or an override of it, cannot be used."""


def find_config(name: str | Path) -> Path:
    """Return the file of a config.

    Args:
        name: a path (``~`` is expanded), the name of a shipped config with or without
            folder and ``.py``, or ``mmdet::folder/name``.

    Raises:
        FileNotFoundError: there is none; similar names are proposed.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    library, separator, rest = str(name).partition("::")
    if separator:
        from mmengine.utils import get_installed_path

        folder = Path(get_installed_path(library)) / ".mim" / "configs"
        path = folder / (rest.removesuffix(".py") + ".py")
        if path.is_file():
            return path
    elif path.is_dir():
        raise FileNotFoundError(f"{name} is a folder, not a config")
    elif not path.is_absolute():
        try:
            return config_path(str(name).removeprefix("configs/"))
        except LookupError as error:
            raise FileNotFoundError(f"there is no config {name}: {error}") from None
    known = [file.name for file in path.parent.glob("*.py")]
    raise FileNotFoundError(
        f"there is no config {name}{did_you_mean(path.name, known)}"
    )


def load_config(
    name: str | Path,
    options: Mapping[str, Any] | Sequence[str] = (),
    import_modules: bool = True,
) -> Config:
    """Read a config and merge overrides, as mmengine's ``--cfg-options`` does.

    Args:
        name: see ``find_config``.
        options: values by dotted key, or the words ``key=value`` of a command line.
        import_modules: whether to import the config's ``custom_imports``.

    Raises:
        FileNotFoundError: there is no such config.
        ConfigError: it cannot be read, or an override does not fit.
    """
    from mmengine.config import Config

    path = find_config(name)
    try:
        config = Config.fromfile(path, import_custom_modules=import_modules)
        for _ in walk(config):
            pass  # imports what a pure-Python config names
    # A config is a program and can raise anything.
    except Exception as error:
        raise ConfigError(f"{path} cannot be read: {one_line(error)}") from error
    if not isinstance(options, Mapping):
        options = read_options(options)
    merge_options(config, options)
    return config


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Merge values by dotted key; a list in the place of a tuple becomes one.

    YAML and command lines have no tuples, and mmdet's ``Resize`` takes nothing else.

    Raises:
        ConfigError: an option does not fit the config.
    """
    for key, value in options.items():
        if isinstance(value, list) and isinstance(value_at(config, key), tuple):
            value = tuple(value)
        try:
            config.merge_from_dict({key: value})
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"option {key}={value!r} does not fit {config.filename or 'it'}: "
                f"{one_line(error)}"
            ) from error


def load_detector_config(name: str | Path, options: Sequence[str] = ()) -> Config:
    """Read the config of a detector; see ``load_config``.

    Raises:
        ConfigError: it has no model, too.
    """
    config = load_config(name, options)
    if not isinstance(config.get("model"), Mapping):
        raise ConfigError(f"{config.filename} is no config of a detector: no model")
    return config


def read_options(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``key=value`` words by dotted key.

    Raises:
        ConfigError: a word is no ``key=value``, or its brackets do not match.
    """
    from mmengine.config import DictAction

    wrong = [word for word in words if not re.match(r"[^=]+=", word)]
    if wrong:
        raise ConfigError(f"--cfg-options takes KEY=VALUE, got {wrong[0]!r}")
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", nargs="*", action=DictAction, default={})
    try:
        return parser.parse_args(["--options", *words] if words else []).options
    except AssertionError as error:
        raise ConfigError(f"--cfg-options: {one_line(error)}") from error


def value_at(node: Any, key: str, default: Any = None) -> Any:
    """Return what stands below a dotted key; list items are named by their index."""
    for part in key.split("."):
        if hasattr(node, "get"):
            node = node.get(part, _MISSING)
        elif isinstance(node, list | tuple) and part.isdigit():
            node = node[int(part)] if int(part) < len(node) else _MISSING
        else:
            node = _MISSING
        if node is _MISSING:
            return default
    return node


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every dict of a config with its dotted key, outer ones first."""
    items: Iterable[tuple[Any, Any]] = ()
    if hasattr(node, "items"):
        yield key, node
        items = node.items()
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    for name, value in items:
        yield from walk(value, f"{key}.{name}" if key else str(name))


def unwrap_dataset(dataset: Any, key: str = "dataset") -> Iterator[tuple[str, Any]]:
    """Yield the datasets inside wrappers (``RepeatDataset``, ``ConcatDataset``, ...).

    Args:
        dataset: a dataset, or the config of one.
        key: dotted, of the dataset; the yielded keys extend it.
    """
    read = dataset.get if hasattr(dataset, "get") else vars(dataset).get
    if read("dataset") is not None:
        yield from unwrap_dataset(read("dataset"), f"{key}.dataset")
    elif read("datasets") is not None:
        for index, inner in enumerate(read("datasets")):
            yield from unwrap_dataset(inner, f"{key}.datasets.{index}")
    else:
        yield key, dataset


def type_name(settings: Any) -> str:
    """Return the ``type`` of a dict as a name without scope (``mmdet.FPN``: FPN)."""
    kind = settings.get("type") if hasattr(settings, "get") else None
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return name.rpartition(".")[2]


def build_without_weights(settings: Mapping[str, Any]) -> nn.Module:
    """Build a model, or a part of one, with its weights on the meta device.

    Factors of S-α FPN that are counted from a training set are 1.

    Raises:
        Exception: what the constructor raises on the processor.
    """
    import torch
    from mmdet.registry import MODELS
    from torch.overrides import TorchFunctionMode

    class WeightsOnMeta(TorchFunctionMode):
        """Numbers get memory (Swin reads its drop rates), weights get none."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs=None
        ):
            changed = {"device": "meta"} if func is torch.empty else {}
            return func(*args, **{**(kwargs or {}), **changed})

    # In the order of their costs; the last one is how mmdet builds.
    for place in (torch.device("meta"), WeightsOnMeta(), torch.device("cpu")):
        try:
            with place:
                # Constructors of mmdet change the dicts they get.
                model = MODELS.build(copy.deepcopy(settings)).to("meta")
            break
        except Exception as error:
            failure = error
            if not (isinstance(error, RuntimeError) or "meta" in str(error)):
                raise
    else:
        raise failure
    set_statistic_factors(model)
    return model


def set_statistic_factors(model: nn.Module, alpha: float = 1.0) -> None:
    """Set α of S-α FPN where a training set would have to be counted."""
    from fpn_necks.layers import StatisticFusionFactor

    for module in model.modules():
        if isinstance(module, StatisticFusionFactor):
            module.set([alpha] * module.num_connections)
