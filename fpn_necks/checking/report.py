"""The command ``check``: reading, judging, printing."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.utils import register_all_modules
from mmengine.config import Config

from ..version import __version__
from .config_files import find_line, one_line, read_config
from .detectors import examine
from .diagnosis import diagnose
from .findings import Finding
from .judges.imports import PACKAGE, import_names

_PLAIN_WORD = re.compile(r"(?!(?:true|false|none)$)[A-Za-z_][\w./-]*", re.IGNORECASE)
_ORDER = {"error": 0, "warning": 1, "note": 2}


def check_config(config: Config) -> list[Finding]:
    """Build a config's detector and judge it.

    Args:
        config: of any detector of mmdet; it is not changed. Its ``custom_imports`` are
            imported.

    Returns:
        The findings, errors first.
    """
    register_all_modules(init_default_scope=True)
    failed = _import(import_names(config))
    findings = diagnose(examine(config, failed))
    return sorted(findings, key=lambda finding: _ORDER[finding.level])


def run_check(
    path: str, options: Mapping[str, Any] | None = None, as_json: bool = False
) -> int:
    """Check a config file and print the findings.

    Args:
        path: of the config.
        options: dotted key -> value, as of ``--cfg-options``.
        as_json: print JSON instead of lines.

    Returns:
        The exit status: 0 without an error, 1 with one, 2 if there is no such config
        or it cannot be read.
    """
    file = Path(path)
    try:
        config = read_config(file, options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    findings = check_config(config)
    places = [_place(finding, file, options or {}) for finding in findings]
    if as_json:
        entries = [
            dict(
                dataclasses.asdict(finding),
                place=place,
                to_change=change_lines(finding.changes),
            )
            for finding, place in zip(findings, places, strict=True)
        ]
        report = dict(fpn_necks=__version__, config=str(file), findings=entries)
        print(json.dumps(report, indent=2, default=str))
    else:
        print(format_findings(findings, places, file))
    return int(any(finding.level == "error" for finding in findings))


def format_findings(
    findings: Sequence[Finding], places: Sequence[str], file: Path
) -> str:
    """Return the findings as lines, remedies below them."""
    lines = [f"fpn_necks {__version__} check {file}", ""]
    for finding, place in zip(findings, places, strict=True):
        where = f"  ({place})" if place else ""
        lines.append(f"  {finding.level:<8} {finding.key}{where}")
        lines.append(f"  {'':<8} {finding.detail}")
        if finding.remedy:
            lines.append(f"  {'':<8} remedy: {finding.remedy}")
        lines += [f"  {'':<8}   {line}" for line in change_lines(finding.changes)]
    counts = {
        level: sum(finding.level == level for finding in findings) for level in _ORDER
    }
    summary = ", ".join(_count(number, noun) for noun, number in counts.items())
    return "\n".join([*lines, "" if findings else "  nothing to say", summary])


def change_lines(changes: Mapping[str, Any]) -> list[str]:
    """Return changes as one ``--cfg-options`` line, or as lines of a config."""
    if not changes:
        return []
    words = [_option(key, value) for key, value in changes.items()]
    if all(word is not None for word in words):
        return [f"--cfg-options {' '.join(word for word in words if word)}"]
    return [f"in the config: {_config_line(k, v)}" for k, v in changes.items()]


def _option(key: str, value: Any) -> str | None:
    """Return ``key=value`` as a shell hands it to ``DictAction``, or ``None``."""
    text = _option_value(value)
    return None if text is None else shlex.quote(f"{key}={text}")


def _option_value(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        items = [_option_value(item) for item in value]
        if not items or None in items:
            return None
        text = ",".join(item for item in items if item is not None)
        if isinstance(value, list):
            return f"[{text}]"
        return f"({text},)" if len(value) == 1 else f"({text})"
    if isinstance(value, str):
        # DictAction drops spaces and takes what looks like a number for one.
        return value if _PLAIN_WORD.fullmatch(value) else None
    return str(value) if value is None or isinstance(value, int | float) else None


def _config_line(key: str, value: Any) -> str:
    first, *rest = key.split(".")
    text = _literal(value)
    for part in reversed(rest):
        text = f"{{{part}: {text}}}" if part.isdigit() else f"dict({part}={text})"
    return f"{first} = {text}"


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"dict({', '.join(f'{k}={_literal(v)}' for k, v in value.items())})"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)


def _place(finding: Finding, file: Path, options: Mapping[str, Any]) -> str:
    for option in options:
        if finding.key == option or finding.key.startswith(f"{option}."):
            return f"--cfg-options {option}"
    return find_line(file, finding.key)


def _import(names: Sequence[str]) -> dict[str, str]:
    failed = {}
    for name in names:
        if name.split(".")[0] == PACKAGE:
            continue  # it is running
        try:
            importlib.import_module(name)
        # A module of the user's can fail in any way.
        except Exception as error:
            failed[name] = one_line(error)
    return failed


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
