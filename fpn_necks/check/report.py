"""The command ``check``: reading a config, printing its problems with file and line."""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.utils import register_all_modules
from mmengine.config import Config

from ..config_tools import ConfigError, find_config, load_config, read_options
from ..messages import one_line
from ..version import __version__
from .measure import examine
from .problem import Problem
from .rules import find_problems
from .settings import PACKAGE, import_names

_LAZY_IMPORT = re.compile(r"Failed to import .* in (.*), line (\d+)")
_SPACED = re.compile(r"[ '\"]")  # what DictAction drops
_ORDER = {"error": 0, "warning": 1, "note": 2}


def check_config(config: Config) -> list[Problem]:
    """Build a config's detector and apply all rules.

    Args:
        config: of any detector of mmdet; it is not changed. Its ``custom_imports`` are
            imported.

    Returns:
        The problems, errors first.
    """
    register_all_modules(init_default_scope=True)
    failed = {}
    for name in import_names(config):
        if name.split(".")[0] == PACKAGE:
            continue  # it is running
        try:
            importlib.import_module(name)
        # A module of the user's can fail in any way.
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    problems = find_problems(examine(config, failed))
    return sorted(problems, key=lambda problem: _ORDER[problem.level])


def run_check(name: str, options: Sequence[str] = (), as_json: bool = False) -> int:
    """Check a config file and print its problems.

    Args:
        name: path of the config, or name of a shipped one.
        options: overrides of config values, ``key=value``.
        as_json: print JSON instead of lines.

    Returns:
        The exit status: 0 without an error, 1 with one.

    Raises:
        OSError: there is no such config.
        ConfigError: it cannot be read, or an option does not fit it.
    """
    file = find_config(name)
    changes = read_options(options)
    try:
        problems = check_config(load_config(file, changes, import_modules=False))
    except ConfigError as error:
        broken = _LAZY_IMPORT.search(str(error))
        if broken is None:
            raise
        detail = one_line(error.__cause__ or error)
        place = f"{broken[1]}:{broken[2]}"
        problems = [Problem("error", "import", detail, "correct it", place=place)]
    places = [problem.place or _place(problem, file, changes) for problem in problems]
    if as_json:
        entries = [
            vars(p) | dict(place=place, to_change=change_lines(p.changes))
            for p, place in zip(problems, places, strict=True)
        ]
        report = dict(fpn_necks=__version__, config=str(file), problems=entries)
        print(json.dumps(report, indent=2, default=str))
    else:
        print(format_problems(problems, places, file))
    return int(any(problem.level == "error" for problem in problems))


def format_problems(
    problems: Sequence[Problem], places: Sequence[str], file: Path
) -> str:
    """Return the problems as lines, remedies below them."""
    lines = [f"fpn_necks {__version__} check {file}", ""]
    for problem, place in zip(problems, places, strict=True):
        where = f"  ({place})" if place else ""
        lines.append(f"  {problem.level:<8} {problem.key}{where}")
        lines.append(f"  {'':<8} {problem.detail}")
        if problem.remedy:
            lines.append(f"  {'':<8} remedy: {problem.remedy}")
        lines += [f"  {'':<8}   {line}" for line in change_lines(problem.changes)]
    levels = [problem.level for problem in problems]
    counts = ((levels.count(level), level) for level in _ORDER)
    summary = ", ".join(f"{n or 'no'} {level}{'s' * (n != 1)}" for n, level in counts)
    return "\n".join([*lines, "" if problems else "  nothing to say", summary])


def change_lines(changes: Mapping[str, Any]) -> list[str]:
    """Return changes as one ``--cfg-options`` line, or as lines of a config."""
    words = [f"{key}={_SPACED.sub('', str(value))}" for key, value in changes.items()]
    with contextlib.suppress(ConfigError):
        if "{" not in "".join(words) and read_options(words) == changes != {}:
            return [f"--cfg-options {shlex.join(words)}"]
    lines = []
    for key, value in changes.items():
        first, *rest = key.split(".")
        text = _literal(value)
        for part in reversed(rest):
            is_index = part.isdigit()
            text = f"{{{part}: {text}}}" if is_index else f"dict({part}={text})"
        lines.append(f"in the config: {first} = {text}")
    return lines


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"dict({', '.join(f'{k}={_literal(v)}' for k, v in value.items())})"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)


def _place(problem: Problem, file: Path, options: Mapping[str, Any]) -> str:
    for option in options:
        if problem.key == option or problem.key.startswith(f"{option}."):
            return f"--cfg-options {option}"
    return find_line(file, problem.key)


def find_line(path: Path, key: str) -> str:
    """Return where a key is written, as ``file:line``, else the dict around it.

    Reads the config and its ``_base_`` files as text, the config first, as it overrides
    them. Written as a literal, ``dict(a=1)`` or ``{"a": 1}``, a key is found; what a
    program computes is not.
    """
    parts, files = key.split("."), list(_with_bases(path))
    for length in range(len(parts), 0, -1):
        for file, tree in files:
            node = _assigned(tree, parts[0])
            for part in parts[1:length]:
                node = _item(node, part)
            if node is not None:
                return f"{file}:{node.lineno}"
    return ""


def _with_bases(path: Path) -> Iterator[tuple[Path, ast.Module]]:
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            yield file, tree
            bases = ast.literal_eval(_assigned(tree, "_base_") or ast.Constant([]))
            for base in [bases] if isinstance(bases, str) else bases:
                own = (file.parent / base).resolve()
                waiting.append(find_config(base) if "::" in base else own)
        # YAML, JSON, or a base that is computed or that mmengine found elsewhere.
        except (OSError, SyntaxError, ValueError):
            continue


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    for statement in reversed(tree.body):  # the last one counts
        if isinstance(statement, ast.Assign):
            targets = [t.id for t in statement.targets if isinstance(t, ast.Name)]
            if name in targets:
                return statement.value
    return None


def _item(node: ast.expr | None, part: str) -> ast.expr | None:
    if isinstance(node, ast.Call):
        return next((k.value for k in node.keywords if k.arg == part), None)
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == part:
                return value
    if isinstance(node, ast.List | ast.Tuple) and part.isdigit():
        return node.elts[int(part)] if int(part) < len(node.elts) else None
    return None
