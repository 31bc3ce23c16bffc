"""A picture of what was measured beside what the paper printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..whole_files import save_figure
from .records import Metric, Table
from .reporting import RowReport

PANELS_PER_LINE = 3
LABEL_WIDTH = 34  # letters of a row's name per line
PAPER, OURS, MARKED = "#555555", "#0072b2", "#d55e00"


def draw_report(table: Table, reports: Sequence[RowReport], path: Path) -> bool:
    """Write a picture with a panel per metric and a line per row.

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
    labels = [textwrap.fill(report.row.name, LABEL_WIDTH) for report in reports]
    columns = min(PANELS_PER_LINE, len(metrics))
    lines = -(-len(metrics) // columns)
    text_lines = sum(1 + label.count("\n") for label in labels)
    size = (3.0 + 3.1 * columns, 1.0 + lines * (0.9 + 0.24 * text_lines))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for panel, metric in zip(panels, metrics, strict=False):
        _draw_metric(panel, metric, reports, labels)
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
    unit = "%" if metric.unit == "percent" else metric.unit
    better = "" if metric.better == "higher" else ", lower is better"
    axes.set_xlabel(f"{metric.name} ({unit}{better})")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    # The first row on top, as in the table.
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.grid(alpha=0.3)


def _handle(marker: str, color: str, label: str, filled: bool = True) -> Line2D:
    face = color if filled else "none"
    return Line2D([], [], ls="", marker=marker, mec=color, mfc=face, label=label)
