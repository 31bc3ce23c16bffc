"""The papers' result tables: dataclasses, read from YAML and checked.

A misspelt field or a forgotten number would show up as a wrong difference beside your
results, so an error names the file, the table, the row and the field.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

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
        unit: What the paper counts it in, such as ``percent`` or ``milliseconds``.
        log: The key in mmengine's logs, such as ``coco/bbox_mAP_50``; None for a column
            that no log has (speed, number of parameters).
    """

    name: str
    unit: str
    log: str | None

    @property
    def scale(self) -> float:
        """What a number of the log is multiplied by to be in the paper's unit.

        mmdet and TinyPersonMetric log fractions where papers print per cent.
        """
        return 100.0 if self.unit == "percent" else 1.0


@dataclass(frozen=True)
class Pretraining:
    """A run whose last checkpoint a row starts from; its numbers are in no table.

    Attributes:
        config: As ``Row.config``.
        options: As ``Row.options``.
    """

    config: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row: what was trained, what the paper printed, and how it is trained here.

    Exactly one of ``config``, ``quoted`` and ``reason`` is set.

    Attributes:
        name: In our words; letters and digits tell it from the table's other rows.
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

    name: str
    detector: str | None
    backbone: str | None
    schedule: str | None
    values: Mapping[str, float | None]
    illegible: tuple[str, ...] = ()
    config: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    pretraining: Pretraining | None = None
    quoted: str | None = None
    reason: str | None = None
    note: str | None = None
    layout: Literal["line", "scattered"] = "line"

    def __post_init__(self) -> None:
        """Check the values, and make them floats or None."""
        sources = [key for key in ("config", "quoted", "reason") if getattr(self, key)]
        if len(sources) != 1:
            raise ValueError(
                "exactly one of the fields config, quoted, reason is needed, not "
                f"{' and '.join(sources) or 'none'}"
            )
        values: dict[str, float | None] = {}
        for name, value in self.values.items():
            if (value is None) != (name in self.illegible):
                raise ValueError(
                    f"{name} is {value!r}, but a value is null exactly if 'illegible' "
                    f"names it; where the paper prints no number it is '{DASH}'"
                )
            if not (value is None or value == DASH or isinstance(value, int | float)):
                raise ValueError(f"{name} is {value!r}, which is no number")
            values[name] = None if value in (None, DASH) else float(value)
        object.__setattr__(self, "values", values)

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

    id: str
    title: str
    dataset: str
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    note: str | None = None

    def __post_init__(self) -> None:
        """Check that every row has a value per metric, and a folder of its own."""
        names = {metric.name for metric in self.metrics}
        slugs = [row.slug for row in self.rows]
        for row in self.rows:
            if wrong := names ^ row.values.keys():
                raise ValueError(
                    f"row '{row.name}': a value is needed for each metric and no "
                    f"other; wrong: {', '.join(sorted(wrong))}"
                )
            if slugs.count(row.slug) > 1:
                raise ValueError(f"two rows have the slug '{row.slug}'")

    def find_row(self, name: str) -> Row:
        """Return the row of a name or slug.

        Raises:
            ValueError: If the table has no such row, with the most similar ones.
        """
        known = {key: row for row in self.rows for key in (row.name, row.slug)}
        if name in known:
            return known[name]
        near = difflib.get_close_matches(slug_of(name), known, n=3, cutoff=0.3)
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

    paper: str
    title: str
    text: str
    tables: tuple[Table, ...]
    arxiv: str | None = None


_LISTS = {"tables": Table, "metrics": Metric, "rows": Row}


def _read(cls: type, content: Any, label: str) -> Any:
    """Make a record of a mapping; an error's message starts with the labels."""
    try:
        values = dict(content)
        for key in _LISTS.keys() & values:
            kind, items = _LISTS[key], values[key]
            names = [item.get("id", item.get("name")) for item in items]
            values[key] = tuple(
                _read(kind, item, f"{kind.__name__.lower()} '{name}'")
                for item, name in zip(items, names, strict=True)
            )
        if values.get("pretraining"):
            values["pretraining"] = Pretraining(**values["pretraining"])
        return cls(**values)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{label}: {error}") from None


def load_papers(folder: Path | None = None) -> list[Paper]:
    """Read and check all papers.

    Args:
        folder: Folder of the YAML files; default: the shipped ones.

    Returns:
        The papers in the order of their files' names.

    Raises:
        ValueError: If a file is no YAML or breaks a rule.
        FileNotFoundError: If the folder has no YAML file.
    """
    folder = folder or Path(__file__).resolve().parent / "tables"
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise FileNotFoundError(f"no tables (*.yaml) in {folder}")
    papers = []
    for file in files:
        try:
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 5 times as fast
            content = yaml.load(file.read_text("utf-8"), Loader=loader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{file.name}: no valid YAML: {error}") from error
        papers.append(_read(Paper, content, file.name))
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
