"""Rows of heat maps over an image, and what all pictures have in common."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from fpn_necks.whole_files import save_figure

from .views import View

PANEL_AREA = 5.4  # square inches
COLOUR_MAP = "inferno"
OPACITY = 0.8
LABEL_WIDTH = 24  # letters per line of a row's label
DPI = 120


@dataclass(frozen=True)
class HeatMap:
    """A map over an image.

    Attributes:
        level: its name, as ``--levels`` takes it.
        column: maps with equal columns stand below each other; columns are sorted.
        title: stands above it.
        values: ``(h, w)``, of the padded image.
    """

    level: str
    column: int
    title: str
    values: np.ndarray


@dataclass(frozen=True)
class HeatRow:
    """Maps of one kind, with one colour scale.

    Attributes:
        label: stands left of them.
        unit: of the values, for the colour bar.
        view: the image they belong to.
        maps: at least one.
        limits: smallest and largest value of the scale; ``None`` for those of the maps.
    """

    label: str
    unit: str
    view: View
    maps: tuple[HeatMap, ...]
    limits: tuple[float, float] | None = None


def choose_levels(
    rows: Sequence[HeatRow], levels: Sequence[str] | None
) -> list[HeatRow]:
    """Keep the maps of some levels, and the rows that still have any.

    Raises:
        ValueError: a level is not there.
    """
    check_levels([x.level for row in rows for x in row.maps], levels)
    if levels is None:
        return list(rows)
    kept = [
        replace(row, maps=tuple(x for x in row.maps if x.level in levels))
        for row in rows
    ]
    return [row for row in kept if row.maps]


def check_levels(known: Sequence[str], levels: Sequence[str] | None) -> None:
    """Raise a ValueError that names the known levels unless all are among them."""
    for level in levels or ():
        if level not in known:
            names = ", ".join(dict.fromkeys(known)) or "no level"
            raise ValueError(f"levels names {level!r}; there is {names}")


def draw_heat_rows(
    entries: Sequence[tuple[str, Sequence[HeatRow]]], path: str | Path, title: str
) -> None:
    """Write a picture of rows of maps, each with one colour scale and its bar.

    Rows of the same place of two entries stand below each other and share their scale.

    Args:
        entries: label and rows of each detector; labels are written where there are
            two or more.
        path: picture file to write.
        title: of the picture.

    Raises:
        ValueError: there is no map.
    """
    rows = _below_each_other(entries)
    if not rows:
        raise ValueError("there is no map to draw")
    columns = sorted({x.column for row, _ in rows for x in row.maps})
    shapes = [row.view.image.shape for row, _ in rows]
    height, width = panel_size(max(shape[0] / shape[1] for shape in shapes))
    figure, grid = new_figure(
        title, len(rows), len(columns), (width, height + 0.35), margins=(2.1, 0.2)
    )
    for axes_of_row, (row, limits) in zip(grid, rows, strict=True):
        for axes in axes_of_row:
            axes.set_visible(False)
        shown: AxesImage | None = None
        used = [axes_of_row[columns.index(x.column)] for x in row.maps]
        for axes, heat_map in zip(used, row.maps, strict=True):
            axes.set_visible(True)
            shown = show_map(axes, row.view, heat_map.values, limits)
            axes.set_title(heat_map.title, fontsize=9)
        leftmost = min(used, key=list(axes_of_row).index)
        leftmost.set_ylabel(wrap(row.label), fontsize=9)
        bar = figure.colorbar(shown, ax=list(axes_of_row), pad=0.01, aspect=14)
        bar.set_label(textwrap.fill(row.unit, 26), fontsize=8)
        bar.ax.tick_params(labelsize=8)
    save(figure, path)


def _below_each_other(
    entries: Sequence[tuple[str, Sequence[HeatRow]]],
) -> list[tuple[HeatRow, tuple[float, float]]]:
    places: dict[str, list[HeatRow]] = {}
    for label, rows in entries:
        for row in rows:
            named = f"{row.label}\n{label}" if len(entries) > 1 else row.label
            places.setdefault(row.label, []).append(replace(row, label=named))
    result = []
    for rows in places.values():
        limits = rows[0].limits or _limits(rows)
        result += [(row, limits) for row in rows]
    return result


def _limits(rows: Sequence[HeatRow]) -> tuple[float, float]:
    values = [x.values[np.isfinite(x.values)] for row in rows for x in row.maps]
    values = [x for x in values if x.size]
    if not values:
        return 0.0, 1.0
    low, high = min(x.min() for x in values), max(x.max() for x in values)
    return float(low), float(high if high > low else low + 1e-6)


def panel_size(aspect: float) -> tuple[float, float]:
    """Return (height, width) in inches of a panel, from height / width of an image."""
    width = math.sqrt(PANEL_AREA / aspect)
    return width * aspect, width


def new_figure(
    title: str,
    rows: int,
    columns: int,
    panel: tuple[float, float],
    margins: tuple[float, float] = (1.0, 0.6),
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its ``(rows, columns)`` axes.

    Args:
        title: broken into lines that fit.
        rows: of panels.
        columns: of panels.
        panel: (width, height) in inches of one panel, titles included.
        margins: (width, height) in inches of what stands around the panels.
    """
    width = max(margins[0] + columns * panel[0], 5.2)
    lines = textwrap.wrap(title, int(width * 11))
    height = margins[1] + rows * panel[1] + 0.26 * len(lines)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(lines), fontsize=11, fontweight="bold")
    return figure, figure.subplots(rows, columns, squeeze=False)


def show_image(axes: Axes, view: View) -> None:
    """Show the image in gray, without axes."""
    height, width = view.image.shape[:2]
    gray = view.image @ np.array([0.299, 0.587, 0.114])
    axes.imshow(gray, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    axes.set_xticks([])
    axes.set_yticks([])


def show_map(
    axes: Axes,
    view: View,
    values: np.ndarray,
    limits: tuple[float, float],
    colours: str = COLOUR_MAP,
) -> AxesImage:
    """Show a map over its image, each cell where it lies; padding is cut off.

    Args:
        axes: where to.
        view: the image.
        values: ``(h, w)`` of the padded image.
        limits: smallest and largest value of the colours.
        colours: name of the colour map.
    """
    show_image(axes, view)
    height, width = view.image.shape[:2]
    shown = axes.imshow(
        values,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        alpha=OPACITY,
        interpolation="nearest",
        extent=(0, view.padded[1], view.padded[0], 0),
    )
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return shown


def wrap(label: str, width: int = LABEL_WIDTH) -> str:
    """Break the lines of a label, also behind the marks in names of files."""
    lines = []
    for whole in label.splitlines():
        line = ""
        for part in re.split(r"(?<=[_\-./ ])", whole):
            if len(line) + len(part.rstrip()) > width and line:
                lines.append(line.rstrip())
                line = ""
            line += part
        lines.append(line)
    return "\n".join(lines)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the file's ending decides the format.

    Raises:
        ValueError: the format is unknown.
        OSError: the file cannot be written.
    """
    save_figure(figure, path, dpi=DPI)
