"""A picture of what was measured beside what the paper printed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..io import save_figure
from .records import Metric, Table
from .reporting import RowReport

PANELS_PER_LINE = 3
LABEL_WIDTH = 34  # letters of a row's name per line
PAPER, OURS, MARKED = "#555555", "#0072b2", "#d55e00"


def draw_report(table: Table, reports: Sequence[RowReport], path: Path) -> bool:
    """Write a picture with a panel per metric.

    A panel has a line per row; of a sweep, whose rows are named ``α = 0.5`` and so on,
    a curve over α, as the papers draw it.

    Args:
        table: Of a paper.
        reports: What was measured of it.
        path: PNG file to write.

    Returns:
        Whether there is anything to draw: a number of a metric that logs have.
    """
    metrics = [
        metric
        for metric in table.metrics
        if metric.log is not None
        and any(_numbers(report, metric) for report in reports)
    ]
    if not metrics:
        return False
    alphas = _swept(reports)
    columns = min(PANELS_PER_LINE, len(metrics))
    lines = -(-len(metrics) // columns)
    labels = [textwrap.fill(report.row.name, LABEL_WIDTH) for report in reports]
    text_lines = sum(1 + label.count("\n") for label in labels)
    if alphas is None:
        size = (3.0 + 3.1 * columns, 1.0 + lines * (0.9 + 0.24 * text_lines))
    else:
        size = (2.0 + 3.6 * columns, 1.2 + 3.2 * lines)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        lines, columns, sharey=alphas is None, squeeze=False
    ).ravel()
    for panel, metric in zip(panels, metrics, strict=False):
        if alphas is None:
            _draw_metric(panel, metric, reports, labels)
        else:
            _draw_curves(panel, metric, reports, alphas)
    for panel in panels[len(metrics) :]:
        panel.set_visible(False)
    figure.suptitle(textwrap.fill(f"{table.id}: {table.title}", 30 * (1 + columns)))
    figure.legend(
        handles=[
            _handle("o", PAPER, "paper", filled=False),
            _handle("D", OURS, "measured, mean ± std over seeds"),
            _handle("X", MARKED, "measured, not comparable"),
        ],
        loc="outside lower center",
        ncols=min(3, 1 + columns),
        frameon=False,
    )
    save_figure(figure, path, dpi=130, format="png")
    return True


def _numbers(report: RowReport, metric: Metric) -> bool:
    measured = [group.metrics[metric.name].mean for group in report.groups]
    numbers = [report.row.values.get(metric.name), *measured]
    return any(number is not None for number in numbers)


def _swept(reports: Sequence[RowReport]) -> list[float] | None:
    """Return α of every row; None where a row is named otherwise."""
    found = [re.fullmatch(r"α = (\d+(?:\.\d+)?)", r.row.name) for r in reports]
    alphas = [float(match[1]) for match in found if match]
    return alphas if alphas and len(alphas) == len(reports) else None


def _draw_curves(
    axes: Axes, metric: Metric, reports: Sequence[RowReport], alphas: Sequence[float]
) -> None:
    paper: list[tuple[float, float]] = []
    # Comparable runs and others are not joined by a line.
    curves: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    for alpha, report in sorted(
        zip(alphas, reports, strict=True), key=lambda pair: pair[0]
    ):
        printed = report.row.values.get(metric.name)
        if printed is not None:
            paper.append((alpha, printed))
        for group in report.groups:
            found = group.metrics[metric.name]
            if found.mean is not None:
                curve = curves[bool(group.deviations)]
                curve.append((alpha, found.mean, found.std or 0.0))
    if paper:
        axes.plot(*zip(*paper, strict=True), "o--", color=PAPER, mfc="none", ms=7)
    for deviates, points in curves.items():
        if points:
            x, y, spread = zip(*points, strict=True)
            color, marker = (MARKED, "X") if deviates else (OURS, "D")
            axes.errorbar(x, y, yerr=spread, fmt=f"{marker}-", color=color, capsize=3)
    axes.set_xlabel("fusion factor α of all connections")
    axes.set_ylabel(_axis_label(metric))
    axes.margins(y=0.12)
    axes.grid(alpha=0.3)


def _axis_label(metric: Metric) -> str:
    unit = "%" if metric.unit == "percent" else metric.unit
    better = "" if metric.better == "higher" else ", lower is better"
    return f"{metric.name} ({unit}{better})"


def _draw_metric(
    axes: Axes, metric: Metric, reports: Sequence[RowReport], labels: Sequence[str]
) -> None:
    for place, report in enumerate(reports):
        paper = report.row.values.get(metric.name)
        if paper is not None:
            axes.plot(paper, place, "o", mfc="none", mec=PAPER, ms=7, zorder=2)
        for group in report.groups:
            found = group.metrics[metric.name]
            if found.mean is None:
                continue
            color, marker = (MARKED, "X") if group.deviations else (OURS, "D")
            axes.errorbar(
                found.mean,
                place,
                xerr=found.std,
                fmt=marker,
                color=color,
                ms=6,
                capsize=3,
                zorder=3,
            )
            if found.difference is not None:
                axes.plot([paper, found.mean], [place] * 2, color=OURS, lw=1, zorder=1)
    axes.set_xlabel(_axis_label(metric))
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    # The first row on top, as in the table.
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.grid(alpha=0.3)


def _handle(marker: str, color: str, label: str, filled: bool = True) -> Line2D:
    face = color if filled else "none"
    return Line2D([], [], ls="", marker=marker, mec=color, mfc=face, label=label)
