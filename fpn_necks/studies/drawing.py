"""The picture of the sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..io import save_figure
from .cells import SWEEP_SET, sweep_cells
from .sets import SETS
from .summary import Spread, metric

CURVES = ("tiny_person/AP50_tiny", "tiny_person/AP50_small")
FIXED, STATISTIC = "#0072b2", "#d55e00"


def draw_sweep(results: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> bool:
    """Write a picture of the accuracy over α, mean ± std over the seeds.

    Args:
        results: Per cell's name.
        path: PNG file to write.

    Returns:
        Whether there is anything to draw: a point of the sweep.
    """
    points = [(text, results.get(cell.name, [])) for text, cell in sweep_cells()]
    if not any(found for _, found in points):
        return False
    figure = Figure(figsize=(4.6 * len(CURVES), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    headings = dict(SETS[SWEEP_SET].metrics)
    panels = figure.subplots(1, len(CURVES), squeeze=False).ravel()
    for panel, name in zip(panels, CURVES, strict=True):
        spreads = [(text, metric(found, name)) for text, found in points]
        _draw(panel, spreads)
        panel.set(xlabel="α of all connections", ylabel=f"{headings[name]} (%)")
    panels[0].legend(frameon=False, fontsize=8)
    # Without the version of matplotlib, so that the same numbers make the same file.
    save_figure(figure, path, dpi=110, format="png", metadata={"Software": None})
    return True


def _draw(axes: Axes, spreads: Sequence[tuple[str, Spread]]) -> None:
    fixed = [(float(a), s) for a, s in spreads if a != "statistic" and s.values]
    if fixed:
        axes.errorbar(
            [alpha for alpha, _ in fixed],
            [100 * (spread.mean or 0.0) for _, spread in fixed],
            yerr=[100 * (spread.std or 0.0) for _, spread in fixed],
            fmt="o-",
            color=FIXED,
            capsize=3,
            label="fixed, mean ± std",
        )
    for alpha, spread in fixed:
        values = [100 * value for value in spread.values]
        axes.plot([alpha] * len(values), values, ".", color=FIXED, alpha=0.4)
    # The statistic has a factor per connection, and so no place on the axis.
    for text, spread in spreads:
        if text == "statistic" and spread.mean is not None:
            mean, std = 100 * spread.mean, 100 * (spread.std or 0.0)
            axes.axhline(mean, color=STATISTIC, lw=1.5, label="by statistic")
            axes.axhspan(mean - std, mean + std, color=STATISTIC, alpha=0.15, lw=0)
    axes.grid(alpha=0.3)
