"""Configs to measure: a name, and changes that leave out what no longer fits."""

from __future__ import annotations

import re
from pathlib import Path

from mmdet.registry import MODELS
from mmengine.config import Config

from ..config_tools import load_detector_config, merge_options, read_options, value_at
from ..messages import arguments_of


def read_config_argument(text: str) -> tuple[str, Config, list[str]]:
    """Read the config that ``CONFIG@key=value,key=value`` names, with its changes.

    Where one changes a ``type``, arguments that the new type does not take are left
    out, so that ``model.neck.type=FPN`` is enough behind any neck.

    Args:
        text: A path, the name of a shipped config or ``mmdet::folder/name``; values are
            written as for ``--cfg-options``.

    Returns:
        A short title, the config, and the dotted keys of what was left out.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: It cannot be read, or a change is no ``key=value`` or does not fit.
    """
    # A file may have the sign in its name.
    name, sign, written = (
        (text, "", "") if Path(text).is_file() else text.partition("@")
    )
    if not name:
        raise ValueError(f"'{text}' names no config before its @")
    items = re.split(r",(?=[\w.]+=)", written) if sign else []
    for item in items:
        if not re.match(r"[\w.]+=", item):
            raise ValueError(
                f"'{item}' in '{text}' must be key=value, with a dotted key"
            )
    options = read_options(items)
    config = load_detector_config(name)
    merge_options(config, options)
    left_out: list[str] = []
    for key in options:
        if not key.endswith(".type"):
            continue
        key = key.removesuffix(".type")
        node = value_at(config, key)
        kind = MODELS.get(node["type"]) if isinstance(node["type"], str) else node.type
        known = arguments_of(kind) if kind else None
        if known is None:  # building says it
            continue
        # mmengine's own words in a config.
        unknown = node.keys() - known - {"type", "init_cfg", "_scope_"}
        for argument in sorted(unknown, key=list(node).index):
            del node[argument]
            left_out.append(f"{key}.{argument}")
    stem = name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py")
    title = f"{stem}, {written.replace('model.', '')}" if written else stem
    return title, config, left_out
