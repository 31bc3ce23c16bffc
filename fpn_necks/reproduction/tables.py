"""The papers' result tables: dataclasses, read from YAML and checked.

A misspelt field or a forgotten number would show up as a wrong difference beside your
results, so an error names the file, the table, the row and the field.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

# Unit of a column -> what a logged number is multiplied by to be in that unit. mmdet
# and TinyPersonMetric log fractions where papers print per cent.
UNITS: Mapping[str, float] = {
    "percent": 100.0,
    "number": 1.0,
    "frames per second": 1.0,
    "milliseconds": 1.0,
    "hours": 1.0,
    "million": 1.0,
    "billion": 1.0,
}
DASH = "-"  # the value in the file where the paper prints no number

_T = TypeVar("_T")
_Read = Callable[[Any, str], Any]  # checks a value; the text is its place, for errors
_LETTERS = {"α": "alpha", "σ": "sigma", "×": "x", "+": " plus ", "†": " dagger "}


def _field(read: _Read, **default: Any) -> Any:
    """Return a dataclass field with the check that it is read by."""
    return field(metadata={"read": read}, **default)


def _text(pattern: str | None = None, nullable: bool = False) -> _Read:
    def read(value: Any, place: str) -> str | None:
        if nullable and value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{place}: {value!r} is no text; quote it if it should be")
        if value != " ".join(value.split()):
            raise ValueError(f"{place}: one line without double spaces is needed")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise ValueError(f"{place}: '{value}' does not match {pattern}")
        return value

    return read


_CONFIG = _text(r"(mmdet::)?[a-z0-9_+-]+/[a-z0-9_.+-]+(?<!.py)")


def _choice(*allowed: str) -> _Read:
    def read(value: Any, place: str) -> str:
        if value not in allowed:
            raise ValueError(f"{place}: {value!r} is not one of {', '.join(allowed)}")
        return value

    return read


def _mapping(value: Any, place: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: names and values are needed, not {value!r}")
    return value


def _options(value: Any, place: str) -> dict[str, Any]:
    for key in _mapping(value, place):
        if not isinstance(key, str) or not re.fullmatch(r"\w+(\.\w+)*", key):
            raise ValueError(f"{place}: {key!r} is no dotted key of a config")
    return value


def _names(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{place}: a list is needed, not {value!r}")
    return tuple(value)


def _each(cls: Callable[[], type], key: str, slug: Callable[[str], str] = str) -> _Read:
    """Return the reader of a list of records whose ``key`` differs."""

    def read(items: Any, place: str) -> tuple[Any, ...]:
        if not isinstance(items, list) or not items:
            raise ValueError(f"{place}: a list with entries is needed, not {items!r}")
        owner, _, word = place.rstrip("s'").rpartition(", field '")
        seen: set[str] = set()
        found = []
        for number, item in enumerate(items, 1):
            at = f"{owner}, {word} {number}"
            name = _text()(_take(item, key, at), f"{at}, field '{key}'")
            if not slug(name):
                raise ValueError(f"{at}, field '{key}': needs a letter or digit")
            if slug(name) in seen:
                raise ValueError(f"{place}: two have the {key} '{slug(name)}'")
            seen.add(slug(name))
            at = at if word == "metric" else f"{owner}, {word} '{name}'"
            found.append(_record(cls(), item, at))
        return tuple(found)

    return read


def _take(content: Any, key: str, place: str) -> Any:
    if not isinstance(content, dict):
        raise ValueError(f"{place}: fields are needed, not {content!r}")
    if key not in content:
        raise ValueError(f"{place}, field '{key}': is missing")
    return content[key]


def _record(cls: type[_T], content: Any, place: str) -> _T:
    """Make a dataclass of a mapping, each field read as its declaration says."""
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    if not isinstance(content, dict):
        raise ValueError(f"{place}: fields are needed, not {content!r}")
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"{place}, field '{key}': is unknown{hint}")
    values = {}
    for key, f in known.items():
        optional = f.default is not MISSING or f.default_factory is not MISSING
        if key in content or not optional:
            value = _take(content, key, place)
            values[key] = f.metadata["read"](value, f"{place}, field '{key}'")
    record = cls(**values)
    check = getattr(record, "_checked", None)
    return check(place, content) if check else record


def slug_of(name: str) -> str:
    """Turn a row's name into letters, digits, dots and hyphens.

    Example:
        >>> slug_of("RetinaNet, P2-P6, α = 0.5")
        'retinanet-p2-p6-alpha-0.5'
    """
    for letter, words in _LETTERS.items():
        name = name.replace(letter, words)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9.]+", "-", plain.lower()).strip("-.")


@dataclass(frozen=True)
class Metric:
    """A column of results.

    Attributes:
        name: Its key in the values of a row, such as ``AP50_tiny``.
        unit: What the paper counts it in; one of ``UNITS``.
        log: The key in mmengine's logs, such as ``coco/bbox_mAP_50``; None for a column
            that no log has (speed, number of parameters).
        better: Whether the ``higher`` or the ``lower`` number is the better one.
    """

    name: str = _field(_text(r"\w+"))
    unit: str = _field(_choice(*UNITS))
    log: str | None = _field(_text(r"\w+/[\w@.]+", nullable=True))
    better: Literal["higher", "lower"] = _field(_choice("higher", "lower"))

    @property
    def scale(self) -> float:
        """What a number of the log is multiplied by to be in the paper's unit."""
        return UNITS[self.unit]


@dataclass(frozen=True)
class Pretraining:
    """A run whose checkpoint a row starts from; its own numbers are in no table.

    Attributes:
        config: As ``Row.config``.
        checkpoint: The file that the row loads, relative to this run's work directory.
        options: As ``Row.options``.
    """

    config: str = _field(_CONFIG)
    checkpoint: str = _field(_text(r"\w+\.pth"))
    options: Mapping[str, Any] = _field(_options, default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row: what was trained, what the paper printed, and how it is trained here.

    Exactly one of ``config``, ``quoted`` and ``reason`` is set.

    Attributes:
        name: In our words, unique in the table.
        method: The neck or the idea, such as ``s-alpha-fpn``, ``fpn``, ``augfpn``.
        detector: In the field's usual name; None where the paper does not say.
        backbone: As ``detector``.
        schedule: As ``detector``; ``1x`` are 12 epochs.
        values: The printed number per metric, in the paper's order. None where the text
            does not give one: see ``illegible``.
        illegible: The metrics whose number cannot be read in the paper's text. A None
            of any other metric is a dash or an empty cell in the paper.
        config: A shipped config, ``folder/name`` without ``.py``, or one of mmdet's as
            ``mmdet::folder/name``.
        options: What mmengine's ``--cfg-options`` changes in the config.
        pretraining: The run that must come first, if any.
        quoted: Why the number is another system's, repeated from elsewhere.
        reason: Why this library cannot train the row.
        note: How the row's training here deviates from the paper's.
        layout: ``line`` if the numbers stand in order on one line of the paper's text,
            ``scattered`` where the conversion to text tore them apart.
    """

    name: str = _field(_text())
    method: str = _field(_text(r"[a-z0-9]+(-[a-z0-9]+)*"))
    detector: str | None = _field(_text(nullable=True))
    backbone: str | None = _field(_text(nullable=True))
    schedule: str | None = _field(_text(nullable=True))
    values: Mapping[str, float | None] = _field(_mapping)
    illegible: tuple[str, ...] = _field(_names, default=())
    config: str | None = _field(_CONFIG, default=None)
    options: Mapping[str, Any] = _field(_options, default_factory=dict)
    pretraining: Pretraining | None = _field(  # noqa: RUF009
        lambda value, place: _record(Pretraining, value, place), default=None
    )
    quoted: str | None = _field(_text(), default=None)
    reason: str | None = _field(_text(), default=None)
    note: str | None = _field(_text(), default=None)
    layout: str = _field(_choice("line", "scattered"), default="line")

    @property
    def kind(self) -> Literal["trainable", "quoted", "untrainable"]:
        """Whether the row is ``trainable``, ``quoted`` or ``untrainable``."""
        if self.config is not None:
            return "trainable"
        return "untrainable" if self.quoted is None else "quoted"

    @property
    def slug(self) -> str:
        """The name in letters, digits, dots and hyphens, fit for a folder."""
        return slug_of(self.name)

    def _checked(self, place: str, content: Collection[str]) -> Row:
        sources = [key for key in ("config", "quoted", "reason") if key in content]
        if len(sources) != 1:
            raise ValueError(
                f"{place}: exactly one of the fields config, quoted, reason is needed, "
                f"not {' and '.join(sources) or 'none'}"
            )
        for key in ("options", "pretraining"):
            if key in content and self.config is None:
                raise ValueError(
                    f"{place}, field '{key}': belongs to a row with a config"
                )
        values: dict[str, float | None] = {}
        for name, value in self.values.items():
            place_of_values = f"{place}, field 'values'"
            if (value is None) != (name in self.illegible):
                raise ValueError(
                    f"{place_of_values}: {name} is {value!r}, but a value is null "
                    "exactly if 'illegible' names it; where the paper prints no number "
                    f"it is '{DASH}'"
                )
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and value != DASH and not is_number:
                raise ValueError(
                    f"{place_of_values}: {name} is {value!r}, which is no number"
                )
            values[name] = float(value) if is_number else None  # type: ignore[arg-type]
        return replace(self, values=values)


@dataclass(frozen=True)
class Table:
    """A table of a paper, or a figure with results.

    Attributes:
        id: Unique over all papers, such as ``s-alpha-table-3``.
        title: One line in our words.
        dataset: What the numbers were measured on, such as ``coco-val2017``.
        metrics: The columns of results, in the paper's order.
        rows: In the paper's order.
        note: What concerns all rows.
    """

    id: str = _field(_text(r"[a-z0-9]+(-[a-z0-9.]+)+"))
    title: str = _field(_text())
    dataset: str = _field(_text(r"[a-z0-9-]+"))
    metrics: tuple[Metric, ...] = _field(_each(lambda: Metric, "name"))
    # The slug is the row's folder, so that two names of one slug would share results.
    rows: tuple[Row, ...] = _field(_each(lambda: Row, "name", slug_of))
    note: str | None = _field(_text(), default=None)

    def _checked(self, place: str, _: object) -> Table:
        names = [metric.name for metric in self.metrics]
        for row in self.rows:
            unknown = [str(name) for name in row.values if name not in names]
            missing = [name for name in names if name not in row.values]
            at = f"{place}, row '{row.name}', field 'values'"
            if missing:
                raise ValueError(f"{at}: missing: {', '.join(missing)}")
            if unknown:
                raise ValueError(
                    f"{at}: not a metric of the table: {', '.join(unknown)}"
                )
            for name in row.illegible:
                _choice(*names)(name, f"{place}, row '{row.name}', field 'illegible'")
        return self

    def find_row(self, name: str) -> Row:
        """Return the row of a name or slug.

        Raises:
            ValueError: If the table has no such row, with the most similar ones.
        """
        known = {key: row for row in self.rows for key in (row.name, row.slug)}
        if name in known:
            return known[name]
        near = difflib.get_close_matches(slug_of(name), known, n=3, cutoff=0.3)
        near = near or [row.slug for row in self.rows][:3]
        raise ValueError(
            f"table '{self.id}' has no row '{name}'; near ones: {', '.join(near)} "
            f"(all: show {self.id})"
        )


@dataclass(frozen=True)
class Paper:
    """A paper and its tables.

    Attributes:
        paper: The method, for display.
        title: The paper's.
        text: Its file among the papers' texts, which the numbers are compared with.
        tables: In the paper's order.
        arxiv: Its number there; None if it has none.
    """

    paper: str = _field(_text())
    title: str = _field(_text())
    text: str = _field(_text(r"[a-z0-9-]+\.txt"))
    tables: tuple[Table, ...] = _field(_each(lambda: Table, "id"))
    arxiv: str | None = _field(_text(r"\d{4}\.\d{4,5}"), default=None)

    @property
    def name(self) -> str:
        """The method, as ``paper``."""
        return self.paper


def load_papers(folder: Path | None = None) -> list[Paper]:
    """Read and check all papers.

    Args:
        folder: Folder of the YAML files; default: the shipped ones.

    Returns:
        The papers in the order of their files' names.

    Raises:
        ValueError: If a file is no YAML, breaks a rule, or an id stands for two tables.
        FileNotFoundError: If the folder has no YAML file.
    """
    folder = folder or Path(__file__).resolve().parent / "tables"
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise FileNotFoundError(f"no tables (*.yaml) in {folder}")
    papers = []
    places: dict[str, str] = {}
    for file in files:
        try:
            content = yaml.load(file.read_text(encoding="utf-8"), Loader=_StrictLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{file.name}: no valid YAML: {error}") from error
        papers.append(_record(Paper, content, file.name))
        for table in papers[-1].tables:
            if places.setdefault(table.id, file.name) != file.name:
                raise ValueError(
                    f"{file.name}, table '{table.id}', field 'id': "
                    f"{places[table.id]} has a table of this id already"
                )
    return papers


def load_tables(folder: Path | None = None) -> dict[str, Table]:
    """Read all tables, by id in the order of the papers; else as ``load_papers``."""
    return {table.id: table for paper in load_papers(folder) for table in paper.tables}


def find_table(table_id: str, folder: Path | None = None) -> Table:
    """Return one table, such as ``s-alpha-table-3``.

    Raises:
        ValueError: If there is no such table, with the most similar ids.
    """
    tables = load_tables(folder)
    if table_id in tables:
        return tables[table_id]
    similar = difflib.get_close_matches(table_id, tables, n=3, cutoff=0.5)
    known = f"did you mean {', '.join(similar)}?" if similar else ", ".join(tables)
    raise ValueError(f"there is no table '{table_id}': {known}")


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
