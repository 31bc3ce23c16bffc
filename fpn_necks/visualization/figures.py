"""What all pictures have in common: panels, maps over images, colour scales."""

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
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from fpn_necks.io import save_figure

from .views import View

PANEL_AREA = 5.4  # square inches
DPI = 120
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


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
    """Maps with one colour scale.

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
    """Keep the maps of some levels, and the rows that still have any."""
    check_levels([x.level for row in rows for x in row.maps], levels)
    kept = [
        replace(row, maps=tuple(x for x in row.maps if is_chosen(x.level, levels)))
        for row in rows
    ]
    return [row for row in kept if row.maps]


def check_levels(known: Sequence[str], levels: Sequence[str] | None) -> None:
    """Raise a ValueError that names the known levels unless all are among them."""
    for level in levels or ():
        if level not in known:
            names = ", ".join(dict.fromkeys(known)) or "no level"
            raise ValueError(f"levels names {level!r}; there is {names}")


def is_chosen(level: str, levels: Sequence[str] | None) -> bool:
    """Whether a level is shown; ``None`` is for all."""
    return levels is None or level in levels


def draw_heat_rows(
    entries: Sequence[tuple[str, Sequence[HeatRow]]], path: str | Path, title: str
) -> None:
    """Write a picture of rows of maps, each with one colour scale and its bar.

    Rows of the same place of two entries stand below each other and share their scale.

    Raises:
        ValueError: there is no map.
    """
    places: dict[str, list[HeatRow]] = {}
    for label, found in entries:
        for row in found:
            name = f"{row.label}\n{label}" if len(entries) > 1 else row.label
            places.setdefault(row.label, []).append(replace(row, label=name))
    rows = []
    for same in places.values():
        values = [x.values for row in same for x in row.maps]
        limits = same[0].limits or value_range(values)
        rows += [(row, limits) for row in same]
    if not rows:
        raise ValueError("there is no map to draw")
    columns = sorted({x.column for row, _ in rows for x in row.maps})
    height, width = panel_size([row.view for row, _ in rows])
    figure, grid = new_figure(
        f"{rows[0][0].view.name}: {title}",
        (len(rows), len(columns)),
        (width, height + 0.35),
        margins=(2.1, 0.2),
    )
    for axes_of_row, (row, limits) in zip(grid, rows, strict=True):
        for axes in axes_of_row:
            axes.set_visible(False)
        used = [axes_of_row[columns.index(x.column)] for x in row.maps]
        for axes, x in zip(used, row.maps, strict=True):
            axes.set_visible(True)
            shown = show_map(axes, row.view, x.values, limits)
            axes.set_title(x.title, fontsize=9)
        leftmost = min(used, key=list(axes_of_row).index)
        leftmost.set_ylabel(wrap(row.label), fontsize=9)
        add_bar(figure, list(axes_of_row), shown, textwrap.fill(row.unit, 26))
    save(figure, path)


def value_range(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the smallest and the largest finite value; they differ."""
    values = np.concatenate([x.ravel() for x in arrays])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1e-6


def panel_size(views: Sequence[View]) -> tuple[float, float]:
    """Return (height, width) in inches of a panel for the tallest of some images."""
    aspect = max(view.image.shape[0] / view.image.shape[1] for view in views)
    width = math.sqrt(PANEL_AREA / aspect)
    return width * aspect, width


def new_figure(
    title: str,
    shape: tuple[int, int],
    panel: tuple[float, float],
    margins: tuple[float, float] = (1.0, 0.6),
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes of a shape (rows, columns).

    The size of a panel, titles included, and that of what stands around the panels are
    (width, height) in inches.
    """
    width = max(margins[0] + shape[1] * panel[0], 5.2)
    lines = textwrap.wrap(title, int(width * 11))
    height = margins[1] + shape[0] * panel[1] + 0.26 * len(lines)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(lines), fontsize=11, fontweight="bold")
    return figure, figure.subplots(*shape, squeeze=False)


def show_image(axes: Axes, view: View) -> None:
    """Show the image in gray, without axes."""
    height, width = view.image.shape[:2]
    gray = view.image @ np.array([0.299, 0.587, 0.114])
    axes.imshow(gray, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    axes.set(xticks=[], yticks=[])


def show_map(
    axes: Axes,
    view: View,
    values: np.ndarray,
    limits: tuple[float, float],
    colours: str = "inferno",
) -> AxesImage:
    """Show a map ``(h, w)`` of the padded image over its image, the padding cut off."""
    show_image(axes, view)
    height, width = view.image.shape[:2]
    shown = axes.imshow(
        values,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        alpha=0.8,
        interpolation="nearest",
        extent=(0, view.padded[1], view.padded[0], 0),
    )
    axes.set(xlim=(0, width), ylim=(height, 0))
    return shown


def add_bar(
    figure: Figure, axes: Axes | list[Axes], shown: ScalarMappable, label: str
) -> None:
    """Add the scale of what is shown."""
    bar = figure.colorbar(shown, ax=axes, pad=0.01, aspect=14)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def wrap(label: str, width: int = 24) -> str:
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
    """Write a figure, whole or not at all; the file's ending decides the format."""
    save_figure(figure, path, dpi=DPI)
