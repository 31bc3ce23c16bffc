"""Configs by path, by shipped name or of mmdet, with changes to their values."""

from __future__ import annotations

import argparse
import copy
import functools
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config, DictAction
from mmengine.utils import get_installed_path

from fpn_necks.shipped_configs import config_path

_NEXT_OPTION = re.compile(r",(?=[\w.]+=)")


def find_config(name: str) -> Path:
    """Return the file of a shipped config or one of mmdet's.

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


@dataclass(frozen=True)
class ConfigArgument:
    """A config as a command line names it.

    Args:
        name: A path, the name of a shipped config, or ``mmdet::folder/name``.
        options: Values by dotted key, as of ``--cfg-options``.
        written: The options as they were written.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    written: str = ""

    @property
    def title(self) -> str:
        """Name the config and its changes as shortly as it is still clear."""
        stem = self.name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py")
        changes = self.written.replace("model.", "")
        return f"{stem}, {changes}" if changes else stem


def parse_config_argument(text: str) -> ConfigArgument:
    """Split ``CONFIG@key=value,key=value`` into the config and its options.

    Args:
        text: Values are written as for ``--cfg-options``: numbers, ``None``, ``True``,
            lists as ``1,2`` or ``[1,2]``.

    Raises:
        ValueError: No config is named, or an option is no ``key=value``.
    """
    if "@" not in text or Path(text).is_file():
        return ConfigArgument(text)
    name, _, written = text.partition("@")
    if not name:
        raise ValueError(f"'{text}' names no config before its @")
    items = _NEXT_OPTION.split(written)
    for item in items:
        if not re.match(r"[\w.]+=", item):
            raise ValueError(
                f"'{item}' in '{text}' must be key=value, with a dotted key"
            )
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", nargs="+", action=DictAction)
    try:
        options = parser.parse_args(["--options", *items]).options
    except AssertionError as error:  # of brackets
        raise ValueError(f"the options of '{text}': {error}") from error
    return ConfigArgument(name, options, written)


def read_detector_config(argument: ConfigArgument) -> tuple[Config, list[str]]:
    """Read a config and change it by its options.

    Where an option changes a ``type``, arguments that the new type does not take are
    left out, so that ``model.neck.type=FPN`` is enough behind any neck.

    Returns:
        The config, and what was left out, as dotted keys.

    Raises:
        LookupError: There is no such config.
        ValueError: It cannot be read, or an option does not fit it.
    """
    path = Path(argument.name)
    if not path.is_file():
        if path.suffix == ".py" and len(path.parts) > 2 and "::" not in argument.name:
            raise LookupError(f"there is no config {path}")
        path = find_config(argument.name.removesuffix(".py"))
    try:
        config = Config.fromfile(path)
    # A config is a program, and can raise whatever a program can.
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    merge_options(config, argument.options)
    left_out: list[str] = []
    for key in argument.options:
        if key.endswith(".type"):
            left_out += _leave_out_unknown(config, key.removesuffix(".type"))
    return config, left_out


def _leave_out_unknown(config: Config, key: str) -> list[str]:
    node = _value_at(config, key)
    cls = MODELS.get(node["type"]) if isinstance(node["type"], str) else node["type"]
    known = arguments_of(cls) if cls is not None else None  # building says it
    if known is None:
        return []
    # mmengine's own words in a config.
    known |= {"type", "init_cfg", "_scope_"}
    unknown = [name for name in node if name not in known]
    for name in unknown:
        del node[name]
    return [f"{key}.{name}" for name in unknown]


def arguments_of(cls: type) -> set[str] | None:
    """Return the names of a class's constructor arguments.

    Where a constructor passes on what it does not name (``**kwargs``), those of the
    next class count as well; ``None`` if the last of them takes any name.
    """
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        names |= {p.name for p in parameters if p.kind is not p.VAR_POSITIONAL}
        passed_on = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
        names -= set(passed_on)
        if not passed_on:
            return names
    return None
