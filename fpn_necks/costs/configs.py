"""Configs to measure: a name, and changes to it."""

from __future__ import annotations

import re
from pathlib import Path

from mmengine.config import Config

from ..config_tools import load_detector_config


def read_config_argument(text: str) -> tuple[str, Config]:
    """Read the config that ``CONFIG@key=value,key=value`` names, with its changes.

    Args:
        text: A path, the name of a shipped config or ``mmdet::folder/name``; values are
            written as for ``--cfg-options``.

    Returns:
        A short title, and the config.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: It cannot be read, or a change is no ``key=value`` or does not fit.
    """
    name, _, changes = text.partition("@")
    if Path(text).is_file():  # a file may have the sign in its name
        name, changes = text, ""
    options = re.split(r",(?=[\w.]+=)", changes) if changes else []
    stem = name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py")
    title = ", ".join([stem, *(x.removeprefix("model.") for x in options)])
    return title, load_detector_config(name, options)
