"""Configs to measure: a name, and changes that leave out what no longer fits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config

from ..config_tools import load_detector_config, merge_options, read_options, value_at
from ..messages import arguments_of

_NEXT_OPTION = re.compile(r",(?=[\w.]+=)")


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
    return ConfigArgument(name, read_options(items), written)


def read_detector_config(argument: ConfigArgument) -> tuple[Config, list[str]]:
    """Read a config and change it by its options.

    Where an option changes a ``type``, arguments that the new type does not take are
    left out, so that ``model.neck.type=FPN`` is enough behind any neck.

    Returns:
        The config, and what was left out, as dotted keys.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: It cannot be read, or an option does not fit it.
    """
    config = load_detector_config(argument.name)
    merge_options(config, argument.options)
    left_out: list[str] = []
    for key in argument.options:
        if not key.endswith(".type"):
            continue
        key = key.removesuffix(".type")
        node = value_at(config, key)
        kind = node["type"]
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        known = arguments_of(kind) if kind else None
        if known is None:  # building says it
            continue
        # mmengine's own words in a config.
        unknown = node.keys() - known - {"type", "init_cfg", "_scope_"}
        for name in sorted(unknown, key=list(node).index):
            del node[name]
            left_out.append(f"{key}.{name}")
    return config, left_out
