"""A config and its changes in one word of a command line: ``CONFIG@key=value,...``."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config, DictAction

from fpn_necks.reproduction.configs import find_config, merge_options

_NEXT_OPTION = re.compile(r",(?=[\w.]+=)")


@dataclass(frozen=True)
class ConfigArgument:
    """A config as a command line names it.

    Args:
        name: a path, the name of a shipped config, or ``mmdet::folder/name``.
        options: values by dotted key, as of ``--cfg-options``.
        written: the options as they were written.
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
        text: values are written as for ``--cfg-options``: numbers, ``None``, ``True``,
            lists as ``1,2`` or ``[1,2]``.

    Raises:
        ValueError: no config is named, or an option is no ``key=value``.
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
        LookupError: there is no such config.
        ValueError: it cannot be read, or an option does not fit it.
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
    node: Any = config
    for part in key.split("."):
        node = node[int(part)] if isinstance(node, list | tuple) else node[part]
    kind = node["type"]
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    if kind is None:
        return []  # building it says so
    known = arguments_of(kind)
    if known is None:
        return []
    # mmengine's own words in a config.
    unknown = [
        name for name in node if name not in known | {"type", "init_cfg", "_scope_"}
    ]
    for name in unknown:
        del node[name]
    return [f"{key}.{name}" for name in unknown]


def arguments_of(kind: type) -> set[str] | None:
    """Return the names of a class's constructor arguments.

    Where a constructor passes on what it does not name (``**kwargs``), those of the
    next class count as well; ``None`` if the last of them takes any name.
    """
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        names |= {p.name for p in parameters if p.kind is not p.VAR_POSITIONAL}
        passed_on = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
        names -= set(passed_on)
        if not passed_on:
            return names
    return None
