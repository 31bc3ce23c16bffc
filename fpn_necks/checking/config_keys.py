"""Walking a config by its keys, and finding the key of a module of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config

_MISSING = object()


def value_at(node: Any, key: str, default: Any = None) -> Any:
    """Return what stands below a dotted key; list items are named by their index."""
    for part in key.split("."):
        node = _child(node, part)
        if node is _MISSING:
            return default
    return node


def has_key(node: Any, key: str) -> bool:
    """Tell whether the config names this key itself."""
    return value_at(node, key, _MISSING) is not _MISSING


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every dict of a config with its dotted key, outer ones first."""
    if isinstance(node, Mapping | Config):
        yield key, node
        for name, value in node.items():
            yield from walk(value, f"{key}.{name}" if key else str(name))
    elif _is_list(node):
        for index, value in enumerate(node):
            yield from walk(value, f"{key}.{index}" if key else str(index))


def key_of_module(config: Mapping[str, Any], module_name: str) -> str | None:
    """Return the config key that a module of the model was built from.

    Args:
        config: the whole config.
        module_name: as in ``model.named_modules()``.

    Returns:
        The key, without the index of a module that one dict describes several times
        (the stages of a Cascade R-CNN); ``None`` if the config has none.
    """
    key = "model"
    for part in module_name.split("."):
        node = value_at(config, key)
        if has_key(node, part):
            key = f"{key}.{part}"
        elif not (part.isdigit() and isinstance(node, Mapping)):
            return None
    return key


def stage_keys(config: Mapping[str, Any]) -> list[str]:
    """Return the keys of the neck's stages: one, or one per item of a list."""
    neck = value_at(config, "model.neck")
    if neck is None:
        return []
    if _is_list(neck):
        return [f"model.neck.{i}" for i in range(len(neck))]
    return ["model.neck"]


def _child(node: Any, part: str) -> Any:
    if isinstance(node, Mapping | Config):
        return node.get(part, _MISSING)
    if _is_list(node) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    return _MISSING


def _is_list(node: Any) -> bool:
    return isinstance(node, Sequence) and not isinstance(node, str)
