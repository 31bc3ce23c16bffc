"""Reading a config without running what it imports, and finding the line of a key."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import get_installed_path


def read_config(path: Path, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config; its ``custom_imports`` are left alone.

    Args:
        path: of the config.
        options: dotted key -> value, as of ``--cfg-options``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no config, or an option does not fit it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no config {path}")
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    # A config is a program, and can raise whatever a program can.
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {one_line(error)}") from error
    try:
        config.merge_from_dict(dict(options or {}))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"--cfg-options do not fit: {one_line(error)}") from error
    return config


def one_line(error: BaseException) -> str:
    """Return the type and the message of an error in one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def find_line(path: Path, key: str) -> str:
    """Return where a key is written, as ``file:line``.

    Reads the config and its ``_base_`` files as text, the config first, as it
    overrides them. Written as a literal, ``dict(a=1)`` or ``{"a": 1}``, a key is found;
    what a program computes is not.

    Args:
        path: of the config.
        key: dotted; list items are named by their index.

    Returns:
        The place of the key, or of the innermost dict around it that is written
        anywhere; empty if not even its first part is.
    """
    parts = key.split(".")
    files = _with_bases(path)
    for length in range(len(parts), 0, -1):
        for file, tree in files:
            line = _line_in(tree, parts[:length])
            if line is not None:
                return f"{file}:{line}"
    return ""


def _with_bases(path: Path) -> list[tuple[Path, ast.Module]]:
    found: list[tuple[Path, ast.Module]] = []
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue  # YAML, JSON, or a base that mmengine found elsewhere
        found.append((file, tree))
        waiting += [_resolve(base, file) for base in _bases(tree)]
    return found


def _bases(tree: ast.Module) -> list[str]:
    value = _assigned(tree, "_base_")
    try:
        bases = ast.literal_eval(value) if value is not None else []
    except ValueError:
        return []
    return [bases] if isinstance(bases, str) else list(bases)


def _resolve(base: str, file: Path) -> Path:
    library, separator, name = base.partition("::")
    if separator:
        return Path(get_installed_path(library)) / ".mim" / "configs" / name
    return (file.parent / base).resolve()


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    for statement in reversed(tree.body):  # the last one counts
        if isinstance(statement, ast.Assign):
            targets = [t.id for t in statement.targets if isinstance(t, ast.Name)]
            if name in targets:
                return statement.value
    return None


def _line_in(tree: ast.Module, parts: list[str]) -> int | None:
    node = _assigned(tree, parts[0])
    if node is None:
        return None
    for part in parts[1:]:
        node = _item(node, part)
        if node is None:
            return None
    return node.lineno


def _item(node: ast.expr, part: str) -> ast.expr | None:
    if isinstance(node, ast.Call):
        return next((k.value for k in node.keywords if k.arg == part), None)
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == part:
                return value
    if isinstance(node, ast.List | ast.Tuple) and part.isdigit():
        return node.elts[int(part)] if int(part) < len(node.elts) else None
    return None
