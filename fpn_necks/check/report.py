"""The command ``check``: reading a config, printing its problems with file and line."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmdet.utils import register_all_modules
from mmengine.config import Config

from ..config_tools import find_config, load_config, read_options
from ..version import __version__
from .measure import examine
from .problem import Problem
from .rules import find_problems

LEVELS = ("error", "warning", "note")


def check_config(config: Config) -> list[Problem]:
    """Build a config's detector and apply all rules.

    Args:
        config: of any detector of mmdet; it is not changed. Its ``custom_imports`` are
            imported.

    Returns:
        The problems, errors first.
    """
    register_all_modules(init_default_scope=True)
    problems = find_problems(examine(config))
    return sorted(problems, key=lambda problem: LEVELS.index(problem.level))


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
    problems = check_config(load_config(file, changes, import_modules=False))
    places = [
        next(
            (f"--cfg-options {x}" for x in changes if f"{p.key}.".startswith(f"{x}.")),
            find_line(file, p.key),
        )
        for p in problems
    ]
    if as_json:
        pairs = zip(problems, places, strict=True)
        entries = [vars(problem) | dict(place=place) for problem, place in pairs]
        report = dict(fpn_necks=__version__, config=str(file), problems=entries)
        print(json.dumps(report, indent=2))
    else:
        print(f"fpn_necks {__version__} check {file}\n")
        print(format_problems(problems, places))
    return int(any(problem.level == "error" for problem in problems))


def format_problems(problems: Sequence[Problem], places: Sequence[str]) -> str:
    """Return the problems as lines, remedies below them."""
    lines = []
    for problem, place in zip(problems, places, strict=True):
        where = f"  ({place})" if place else ""
        lines.append(f"  {problem.level:<8} {problem.key}{where}")
        lines.append(f"  {'':<8} {problem.detail}")
        if problem.remedy:
            lines.append(f"  {'':<8} remedy: {problem.remedy}")
    levels = [problem.level for problem in problems]
    counts = ((levels.count(level), level) for level in LEVELS)
    summary = ", ".join(f"{n or 'no'} {level}{'s' * (n != 1)}" for n, level in counts)
    return "\n".join([*lines, "", summary])


def find_line(path: Path, key: str) -> str:
    """Return where a key is written, as ``file:line``, else the dict around it.

    Reads the config and its ``_base_`` files as text, the config first, as it overrides
    them. Written as a literal, ``dict(a=1)`` or ``{"a": 1}``, a key is found; what a
    program computes is not.
    """
    first, *rest = key.split(".")
    files = [(file, _assigned(tree, first)) for file, tree in _with_bases(path)]
    for length in range(len(rest), -1, -1):
        for file, node in files:
            for part in rest[:length]:
                node = _item(node, part)
            if node is not None:
                return f"{file}:{node.lineno}"
    return ""


def _with_bases(path: Path) -> Iterator[tuple[Path, ast.Module]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield path, tree
        bases = ast.literal_eval(_assigned(tree, "_base_") or ast.Constant([]))
        for base in [bases] if isinstance(bases, str) else bases:
            own = (path.parent / base).resolve()
            yield from _with_bases(find_config(base) if "::" in base else own)
    # YAML, JSON, or a base that is computed or that mmengine found elsewhere.
    except (OSError, SyntaxError, ValueError):
        return


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
