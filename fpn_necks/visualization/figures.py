"""What all pictures have in common: panels, maps over images, colour scales."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from fpn_necks.io import save_figure

from .boxes import show_frames
from .views import View

PANEL_AREA = 5.4  # square inches
DPI = 120
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
ARROWS = 26  # along the longer side
MOST_BOXES = 60  # more would hide each other


@dataclass(frozen=True)
class HeatMap:
    """A map over an image, the values of boxes on it, or a matrix.

    Attributes:
        level: its name, as ``--levels`` takes it.
        column: maps with equal columns stand below each other; columns are sorted.
        title: stands above it.
        values: ``(h, w)``, of the padded image; of boxes ``(K,)``.
        arrows: ``(2, h, w)``, x before y in pixels of the network's image, drawn on the
            map.
        boxes: ``(K, 4)`` x1, y1, x2, y2 in pixels of the network's image.
        groups: makes it a matrix without image: names of its equal groups of rows.
    """

    level: str
    column: int
    title: str
    values: np.ndarray
    arrows: np.ndarray | None = None
    boxes: np.ndarray | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeatRow:
    """Maps with one colour scale.

    Attributes:
        label: stands left of them.
        unit: of the values, for the colour bar.
        view: the image they belong to.
        maps: at least one.
        limits: smallest and largest value of the scale; ``None`` for those of the maps.
        scale: rows of one scale share their limits; default: those of one label.
        colours: a colour map of matplotlib.
    """

    label: str
    unit: str
    view: View
    maps: tuple[HeatMap, ...]
    limits: tuple[float, float] | None = None
    scale: str = ""
    colours: str = "inferno"


def choose_levels(
    rows: Sequence[HeatRow], levels: Sequence[str] | None
) -> list[HeatRow]:
    """Keep the maps of some levels, all if ``None``, and the rows that have any."""
    check_levels([x.level for row in rows for x in row.maps], levels)
    rows = [
        replace(row, maps=tuple(x for x in row.maps if not levels or x.level in levels))
        for row in rows
    ]
    return [row for row in rows if row.maps]


def check_levels(known: Sequence[str], levels: Sequence[str] | None) -> None:
    """Raise a ValueError unless all levels are known; the message names those."""
    for level in levels or ():
        if level not in known:
            names = ", ".join(dict.fromkeys(known))
            raise ValueError(f"levels names {level!r}; there is {names}")


def draw_heat_rows(
    entries: Sequence[tuple[str, Sequence[HeatRow]]], path: str | Path, title: str
) -> None:
    """Write a picture of rows of maps, each with one colour scale and its bar.

    Args:
        entries: of each detector its label and its rows; rows of one label stand below
            each other.
        path: picture file to write.
        title: of the picture, behind the name of the image.
    """
    rows = [(label, row) for label, found in entries for row in found]
    order = list(dict.fromkeys(row.label for _, row in rows))
    rows.sort(key=lambda entry: order.index(entry[1].label))
    values: dict[str, list[np.ndarray]] = {}
    for _, row in rows:
        of_row = [np.array(row.limits)] if row.limits else [x.values for x in row.maps]
        values.setdefault(row.scale or row.label, []).extend(of_row)
    columns = sorted({x.column for _, row in rows for x in row.maps})
    height, width = panel_size([row.view for _, row in rows])
    figure, grid = new_figure(
        f"{rows[0][1].view.name}: {title}",
        (len(rows), len(columns)),
        (width, height + 0.35),
        margins=(2.1, 0.2),
    )
    for axes_of_row, (label, row) in zip(grid, rows, strict=True):
        limits = value_range(values[row.scale or row.label])
        scale = ScalarMappable(Normalize(*limits), row.colours)
        maps = {columns.index(x.column): x for x in row.maps}
        for i, axes in enumerate(axes_of_row):
            axes.set_visible(i in maps)
            if i in maps:
                note = _show(axes, row.view, maps[i], scale)
                axes.set_title(maps[i].title + note, fontsize=9)
        label = row_label(row.label, label, entries)
        axes_of_row[min(maps)].set_ylabel(label, fontsize=9)
        bar = figure.colorbar(scale, ax=list(axes_of_row), pad=0.01, aspect=14)
        bar.set_label(wrap(row.unit, 26), fontsize=8)
        bar.ax.tick_params(labelsize=7)
    save_figure(figure, path, dpi=DPI)


def _show(axes: Axes, view: View, x: HeatMap, scale: ScalarMappable) -> str:
    """Show the values over the image in gray; return what the title has to add."""
    colours = dict(cmap=scale.cmap, norm=scale.norm)
    if x.groups:
        size = len(x.values) / len(x.groups)
        axes.imshow(x.values, **colours)
        places = [size * (i + 0.5) - 0.5 for i in range(len(x.groups))]
        axes.set_yticks(places, [f"to {name}" for name in x.groups], fontsize=8)
        for i in range(1, len(x.groups)):
            axes.axhline(size * i - 0.5, color="black", linewidth=0.6)
        axes.tick_params(axis="x", labelsize=8)
        return ""
    height, width = view.image.shape[:2]
    gray = view.image @ np.array([0.299, 0.587, 0.114])
    axes.imshow(gray, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    axes.set(xticks=[], yticks=[])
    if x.boxes is not None:
        of_boxes = scale.to_rgba(x.values[:MOST_BOXES])
        show_frames(axes, x.boxes[:MOST_BOXES], of_boxes, margin=0)
    else:
        colours |= dict(alpha=0.8, interpolation="nearest")
        axes.imshow(x.values, extent=(0, view.padded[1], view.padded[0], 0), **colours)
    note = "" if x.arrows is None else _show_arrows(axes, view, x.arrows)
    axes.set(xlim=(0, width), ylim=(height, 0))  # the padding is cut off
    return note


def _show_arrows(axes: Axes, view: View, arrows: np.ndarray) -> str:
    """Draw arrows from cells of a map; return how much longer they are drawn."""
    rows, columns = arrows.shape[1:]
    step = max(1, -(-max(rows, columns) // ARROWS))
    i, j = np.mgrid[step // 2 : rows : step, step // 2 : columns : step]
    cell = np.array([view.padded[1] / columns, view.padded[0] / rows])
    dx, dy = arrows[:, i, j]
    longest = float(np.hypot(dx, dy).max(initial=0.0))
    # Short arrows would be dots, long ones a tangle.
    factor = 1.6 * step * cell.max() / longest if longest > 0 else 1.0
    x, y = (j + 0.5) * cell[0], (i + 0.5) * cell[1]
    style = dict(color="white", angles="xy", scale_units="xy", scale=1, width=0.004)
    axes.quiver(x, y, dx * factor, dy * factor, **style)
    return f", arrows × {factor:.3g}"


def row_label(name: str, label: str, entries: Sequence[object]) -> str:
    """Return the label of a row, with its detector's where there are several."""
    return wrap(f"{name}\n{label}" if len(entries) > 1 else name)


def value_range(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the smallest and the largest finite value; they differ."""
    values = np.concatenate([x[np.isfinite(x)] for x in arrays])
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
    title = wrap(title, int(width * 11))
    height = margins[1] + shape[0] * panel[1] + 0.26 * (title.count("\n") + 1)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=11, fontweight="bold")
    return figure, figure.subplots(*shape, squeeze=False)


def wrap(label: str, width: int = 24) -> str:
    """Break the lines of a label, also behind the marks in names of files."""
    start = rf"(?=.{{{width + 1}}}).{{1,{width - 1}}}[_\-./ ]"
    return re.sub(start, lambda found: found[0].rstrip() + "\n", label)
