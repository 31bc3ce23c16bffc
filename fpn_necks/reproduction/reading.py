"""Reads a paper's YAML file; every error names file, table, row and field.

A misspelt field or a forgotten number would otherwise show up as a wrong difference
beside somebody's results.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .records import UNITS, Metric, Paper, Pretraining, Row, Table

DASH = "-"  # what a cell is in the file where the paper prints no number
KINDS = ("config", "quoted", "reason")

_REQUIRED = object()
_T = TypeVar("_T")


def read_paper(path: Path) -> Paper:
    """Read one file.

    Args:
        path: A YAML file with the fields of ``Paper``.

    Raises:
        ValueError: If the file is no YAML, has a key twice, or breaks a rule of the
            records.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name}: no valid YAML: {error}") from error
    fields = _Fields(content, path.name)
    paper = Paper(
        name=fields.text("paper"),
        title=fields.text("title"),
        arxiv=fields.text("arxiv", None, pattern=r"\d{4}\.\d{4,5}"),
        text=fields.text("text", pattern=r"[a-z0-9-]+\.txt"),
        tables=fields.each("tables", _read_table),
    )
    fields.finish()
    _no_twins(paper.tables, lambda table: table.id, fields.place, "tables", "id")
    return paper


def _read_table(content: Any, place: str, number: int) -> Table:
    fields = _Fields(content, f"{place}, table {number}")
    table_id = fields.text("id", pattern=r"[a-z0-9]+(-[a-z0-9.]+)+")
    fields.place = f"{place}, table '{table_id}'"
    metrics = fields.each("metrics", _read_metric)
    _no_twins(metrics, lambda metric: metric.name, fields.place, "metrics", "name")
    names = [metric.name for metric in metrics]
    table = Table(
        id=table_id,
        title=fields.text("title"),
        dataset=fields.text("dataset", pattern=r"[a-z0-9-]+"),
        metrics=metrics,
        rows=fields.each("rows", lambda *row: _read_row(*row, names)),
        note=fields.text("note", None),
    )
    fields.finish()
    # The slug is the row's folder, so that two names of one slug would share results.
    _no_twins(table.rows, lambda row: row.slug, fields.place, "rows", "name")
    return table


def _read_metric(content: Any, place: str, number: int) -> Metric:
    fields = _Fields(content, f"{place}, metric {number}")
    metric = Metric(
        name=fields.text("name", pattern=r"\w+"),
        unit=fields.choice("unit", UNITS),
        log=fields.text("log", pattern=r"\w+/[\w@.]+", nullable=True),
        better=fields.choice("better", ("higher", "lower")),
    )
    fields.finish()
    return metric


def _read_row(content: Any, place: str, number: int, metrics: list[str]) -> Row:
    fields = _Fields(content, f"{place}, row {number}")
    name = fields.text("name")
    fields.place = f"{place}, row '{name}'"
    kinds = [kind for kind in KINDS if kind in fields.content]
    if len(kinds) != 1:
        raise ValueError(
            f"{fields.place}: exactly one of the fields {', '.join(KINDS)} is needed, "
            f"not {' and '.join(kinds) or 'none'}"
        )
    for key in ("options", "pretraining"):
        if key in fields.content and "config" not in kinds:
            raise fields.error(key, "belongs to a row with a config")
    illegible = fields.names("illegible", metrics)
    row = Row(
        name=name,
        method=fields.text("method", pattern=r"[a-z0-9]+(-[a-z0-9]+)*"),
        detector=fields.text("detector", nullable=True),
        backbone=fields.text("backbone", nullable=True),
        schedule=fields.text("schedule", nullable=True),
        values=_read_values(fields, metrics, illegible),
        illegible=illegible,
        config=_read_config(fields) if "config" in kinds else None,
        options=fields.options("options"),
        pretraining=_read_pretraining(fields),
        quoted=fields.text("quoted", None),
        reason=fields.text("reason", None),
        note=fields.text("note", None),
        layout=fields.choice("layout", ("line", "scattered"), "line"),
    )
    fields.finish()
    if not row.slug:
        raise fields.error("name", "needs a letter or digit")
    return row


def _read_values(
    fields: _Fields, metrics: list[str], illegible: tuple[str, ...]
) -> dict[str, float | None]:
    found = fields.mapping("values")
    if set(found) != set(metrics):
        missing = [name for name in metrics if name not in found]
        unknown = [str(name) for name in found if name not in metrics]
        parts = [f"missing: {', '.join(missing)}"] * bool(missing)
        parts += [f"not a metric of the table: {', '.join(unknown)}"] * bool(unknown)
        raise fields.error("values", "; ".join(parts))
    values: dict[str, float | None] = {}
    for name in metrics:
        value = found[name]
        if (value is None) != (name in illegible):
            raise fields.error(
                "values",
                f"{name} is {value!r}, but a cell is null exactly if 'illegible' names "
                f"it; where the paper prints no number it is '{DASH}'",
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and value != DASH and not is_number:
            raise fields.error("values", f"{name} is {value!r}, which is no number")
        values[name] = float(value) if is_number else None
    return values


def _read_config(fields: _Fields) -> str:
    return fields.text(
        "config", pattern=r"(mmdet::)?[a-z0-9_+-]+/[a-z0-9_.+-]+(?<!.py)"
    )


def _read_pretraining(row: _Fields) -> Pretraining | None:
    if "pretraining" not in row.content:
        return None
    fields = _Fields(row.mapping("pretraining"), f"{row.place}, field 'pretraining'")
    pretraining = Pretraining(
        config=_read_config(fields),
        options=fields.options("options"),
        checkpoint=fields.text("checkpoint", pattern=r"\w+\.pth"),
    )
    fields.finish()
    return pretraining


class _Fields:
    """The fields of one mapping, taken one by one, with the place for errors."""

    def __init__(self, content: Any, place: str) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{place}: fields are needed, not {content!r}")
        self.content: dict[Any, Any] = content
        self.place = place
        self._taken: set[str] = set()

    def error(self, key: str, words: str) -> ValueError:
        return ValueError(f"{self.place}, field '{key}': {words}")

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        self._taken.add(key)
        if key in self.content:
            return self.content[key]
        if default is _REQUIRED:
            raise self.error(key, "is missing")
        return default

    def text(
        self,
        key: str,
        default: Any = _REQUIRED,
        pattern: str | None = None,
        nullable: bool = False,
    ) -> Any:
        if key not in self.content or (nullable and self.content[key] is None):
            return self.take(key, default)
        value = self.take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"{value!r} is no text; quote it if it should be")
        if value != " ".join(value.split()):
            raise self.error(key, "one line without double spaces is needed")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise self.error(key, f"'{value}' does not match {pattern}")
        return value

    def choice(self, key: str, allowed: Iterable[str], default: Any = _REQUIRED) -> Any:
        value = self.take(key, default)
        if value not in list(allowed):
            raise self.error(key, f"{value!r} is not one of {', '.join(allowed)}")
        return value

    def mapping(self, key: str, default: Any = _REQUIRED) -> dict[Any, Any]:
        value = self.take(key, default)
        if not isinstance(value, dict):
            raise self.error(key, f"names and values are needed, not {value!r}")
        return value

    def options(self, key: str) -> dict[str, Any]:
        options = self.mapping(key, {})
        for option in options:
            if not isinstance(option, str) or not re.fullmatch(r"\w+(\.\w+)*", option):
                raise self.error(key, f"{option!r} is no dotted key of a config")
        return options

    def names(self, key: str, allowed: list[str]) -> tuple[str, ...]:
        value = self.take(key, [])
        if not isinstance(value, list):
            raise self.error(key, f"a list is needed, not {value!r}")
        for name in value:
            if name not in allowed:
                raise self.error(key, f"{name!r} is not one of {', '.join(allowed)}")
        return tuple(value)

    def each(self, key: str, read: Callable[[Any, str, int], _T]) -> tuple[_T, ...]:
        value = self.take(key)
        if not isinstance(value, list) or not value:
            raise self.error(key, f"a list with entries is needed, not {value!r}")
        return tuple(read(item, self.place, i) for i, item in enumerate(value, 1))

    def finish(self) -> None:
        """Refuse fields that nobody asked for."""
        for key in self.content:
            if key not in self._taken:
                near = difflib.get_close_matches(str(key), self._taken, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise self.error(str(key), f"is unknown{hint}")


def _no_twins(
    items: Iterable[_T], key: Callable[[_T], str], place: str, field: str, name: str
) -> None:
    seen: set[str] = set()
    for item in items:
        if key(item) in seen:
            raise ValueError(
                f"{place}, field '{field}': two have the {name} '{key(item)}'"
            )
        seen.add(key(item))


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, which takes the last of two equal keys, made to refuse.

    The one in C, if PyYAML was built with it, reads the shipped tables 5 times as fast.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<, which may be overridden
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
