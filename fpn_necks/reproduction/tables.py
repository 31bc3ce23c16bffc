"""The papers' result tables: dataclasses, read from YAML and checked.

A misspelt field or a forgotten number would show up as a wrong difference beside your
results, so an error names the file, the table, the row and the field.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from .fields import StrictLoader, read_record, read_value

# What a field must match: a pattern, some words, or the name by which records differ.
Text = Annotated[str, r"\S+( \S+)*"]
Config = Annotated[str, r"(mmdet::)?[a-z0-9_+-]+/[a-z0-9_.+-]+(?<!.py)"]

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

_LETTERS = {"α": "alpha", "σ": "sigma", "×": "x", "+": " plus ", "†": " dagger "}


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

    name: Annotated[str, r"\w+"]
    unit: Annotated[str, tuple(UNITS)]
    log: Annotated[str, r"\w+/[\w@.]+"] | None
    better: Literal["higher", "lower"]

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

    config: Config
    checkpoint: Annotated[str, r"\w+\.pth"]
    options: Mapping[str, Any] = field(default_factory=dict)


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

    name: Text
    method: Annotated[str, r"[a-z0-9]+(-[a-z0-9]+)*"]
    detector: Text | None
    backbone: Text | None
    schedule: Text | None
    values: Mapping[str, float | None]
    illegible: tuple[str, ...] = ()
    config: Config | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    pretraining: Pretraining | None = None
    quoted: Text | None = None
    reason: Text | None = None
    note: Text | None = None
    layout: Literal["line", "scattered"] = "line"

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

    def checked(self, place: str) -> Row:
        """Check what fields have to do with each other; make values floats or None."""
        sources = [key for key in ("config", "quoted", "reason") if getattr(self, key)]
        if len(sources) != 1:
            raise ValueError(
                f"{place}: exactly one of the fields config, quoted, reason is needed, "
                f"not {' and '.join(sources) or 'none'}"
            )
        for key in ("options", "pretraining"):
            if getattr(self, key) and self.config is None:
                raise ValueError(
                    f"{place}, field '{key}': belongs to a row with a config"
                )
        for key in self.options:
            if not re.fullmatch(r"\w+(\.\w+)*", str(key)):
                raise ValueError(
                    f"{place}, field 'options': {key!r} is no dotted key of a config"
                )
        values: dict[str, float | None] = {}
        for name, value in self.values.items():
            at = f"{place}, field 'values': {name} is {value!r}"
            if (value is None) != (name in self.illegible):
                raise ValueError(
                    f"{at}, but a value is null exactly if 'illegible' names it; where "
                    f"the paper prints no number it is '{DASH}'"
                )
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and value != DASH and not is_number:
                raise ValueError(f"{at}, which is no number")
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

    id: Annotated[str, r"[a-z0-9]+(-[a-z0-9.]+)+"]
    title: Text
    dataset: Annotated[str, r"[a-z0-9-]+"]
    metrics: Annotated[tuple[Metric, ...], "name"]
    # The slug is the row's folder: two names of one slug would share results.
    rows: Annotated[tuple[Row, ...], "slug"]
    note: Text | None = None

    def checked(self, place: str) -> Table:
        """Check that rows have the values of the metrics."""
        names = [metric.name for metric in self.metrics]
        for row in self.rows:
            at = f"{place}, row '{row.name}', field"
            if missing := [name for name in names if name not in row.values]:
                raise ValueError(f"{at} 'values': missing: {', '.join(missing)}")
            if unknown := [str(name) for name in row.values if name not in names]:
                raise ValueError(
                    f"{at} 'values': not a metric of the table: {', '.join(unknown)}"
                )
            for name in row.illegible:
                read_value(name, Annotated[str, tuple(names)], f"{at} 'illegible'")
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

    paper: Text
    title: Text
    text: Annotated[str, r"[a-z0-9-]+\.txt"]
    tables: Annotated[tuple[Table, ...], "id"]
    arxiv: Annotated[str, r"\d{4}\.\d{4,5}"] | None = None


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
            content = yaml.load(file.read_text("utf-8"), Loader=StrictLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{file.name}: no valid YAML: {error}") from error
        papers.append(read_record(Paper, content, file.name))
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
