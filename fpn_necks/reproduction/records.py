"""What a paper, a table, a column and a row of results are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["trainable", "quoted", "untrainable"]

# What a column is counted in, and what a number of the log is multiplied by to get it.
# mmdet and TinyPersonMetric log shares of one where papers print per cent.
UNITS: Mapping[str, float] = {
    "percent": 100.0,
    "number": 1.0,
    "frames per second": 1.0,
    "milliseconds": 1.0,
    "hours": 1.0,
    "million": 1.0,
    "billion": 1.0,
}

_LETTERS = {"α": "alpha", "σ": "sigma", "×": "x", "+": " plus ", "†": " dagger "}


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

    name: str
    unit: str
    log: str | None
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
        options: As ``Row.options``.
        checkpoint: The file that the row loads, relative to this run's work directory.
    """

    config: str
    options: Mapping[str, Any]
    checkpoint: str


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

    name: str
    method: str
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

    @property
    def kind(self) -> Kind:
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

    def find_row(self, name: str) -> Row:
        """Return the row of a name or slug.

        Raises:
            ValueError: If the table has no such row, with the rows that it has.
        """
        for row in self.rows:
            if name in (row.name, row.slug):
                return row
        known = ", ".join(row.slug for row in self.rows)
        raise ValueError(f"table '{self.id}' has no row '{name}'; its rows: {known}")


@dataclass(frozen=True)
class Paper:
    """A paper and its tables.

    Attributes:
        name: The method's, for display.
        title: The paper's.
        arxiv: Its number there; None if it has none.
        text: Its file among the papers' texts, which the numbers are compared with.
        tables: In the paper's order.
    """

    name: str
    title: str
    arxiv: str | None
    text: str
    tables: tuple[Table, ...]


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
