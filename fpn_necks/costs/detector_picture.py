"""The costs of detectors as bars."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fpn_necks.io import save_figure

from .detector import AUXILIARY
from .detector_comparison import WHOLE
from .detector_report import short_number
from .stages import BACKBONE, HEAD, NECK, POST_PROCESSING

Numbers = Mapping[str, Any]

COLOURS = {
    BACKBONE: "#9aa5b1",
    NECK: "#d95f02",
    HEAD: "#1b7f9e",
    POST_PROCESSING: "#7a5ba6",
    AUXILIARY: "#e6b422",
}
WHOLE_COLOUR = "#4d5a68"
TITLE_WIDTH = 34  # characters per line


def picture_formats() -> set[str]:
    """Return the endings of picture files that can be written, without dot."""
    return set(FigureCanvasAgg(Figure()).get_supported_filetypes())


def draw_detector_costs(results: Numbers, path: str | Path) -> None:
    """Draw a run's numbers: one bar per detector, cut into its stages.

    Behind each bar stand the value and the ratio to the first detector, where it was
    timed with its 95 % interval.

    Args:
        results: as for ``markdown_tables``.
        path: picture file to write.
    """
    detectors = results["detectors"]
    panels = [
        ("Parameters (millions)", _counted("parameters", 1e6)),
        ("Multiply-adds of inference (billions)", _counted("multiply_adds", 1e9)),
        ("Time of inference (ms)", _inference_time),
        ("Peak memory of inference (MB)", _inference_memory),
    ]
    if "train_step" in detectors[0]:
        panels += [
            ("Time of a step of training (ms)", _training_time),
            ("Peak memory of a step of training (MB)", _training_memory),
        ]
    titles = [textwrap.fill(d["title"], TITLE_WIDTH) for d in detectors]
    lines = sum(max(title.count("\n") + 1, 2) for title in titles)
    rows = len(panels) // 2
    figure = Figure(
        figsize=(12.5, rows * (1.0 + 0.22 * lines) + 1.1), layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 2, sharey=True)
    for axes, (title, bar) in zip(grid.flat, panels, strict=True):
        _draw_panel(axes, title, [bar(detector) for detector in detectors])
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(titles)), titles, fontsize=8)
    grid[0, 0].invert_yaxis()  # shared: the first detector on top
    used = [s for s in COLOURS if any(s in d["parameters"] for d in detectors)]
    used += [POST_PROCESSING] if POST_PROCESSING in detectors[0]["inference"] else []
    order = [stage for stage in COLOURS if stage in used]
    figure.legend(
        handles=[
            *(Patch(color=COLOURS[stage], label=stage) for stage in order),
            Patch(color=WHOLE_COLOUR, label="whole detector"),
        ],
        loc="outside upper center",
        ncols=len(order) + 1,
        frameon=False,
    )
    figure.supxlabel(textwrap.fill(results["setting"], 150), fontsize=8)
    save_figure(figure, path, dpi=130)


@dataclass(frozen=True)
class _Bar:
    """A length, its parts, and its ratio to the first bar where that was timed."""

    length: float
    parts: Mapping[str, float] = field(default_factory=dict)
    times: Numbers = field(default_factory=dict)


def _counted(key: str, unit: float) -> Callable[[Numbers], _Bar]:
    def bar(detector: Numbers) -> _Bar:
        parts = {stage: value / unit for stage, value in detector[key].items()}
        return _Bar(parts.pop(WHOLE), parts)

    return bar


def _inference_time(detector: Numbers) -> _Bar:
    parts = {s: times["milliseconds"] for s, times in detector["inference"].items()}
    return _Bar(parts.pop(WHOLE), parts, detector["inference"][WHOLE])


def _inference_memory(detector: Numbers) -> _Bar:
    # Peaks of stages do not add up to that of the whole.
    return _Bar(detector["inference_peak_bytes"][WHOLE] / 1e6)


def _training_time(detector: Numbers) -> _Bar:
    times = detector["train_step"]
    return _Bar(times["milliseconds"], times=times)


def _training_memory(detector: Numbers) -> _Bar:
    return _Bar(detector["train_step_peak_bytes"] / 1e6)


def _draw_panel(axes: Axes, title: str, bars: Sequence[_Bar]) -> None:
    longest = max(bar.length for bar in bars)
    for place, bar in enumerate(bars):
        end = 0.0
        for stage, value in bar.parts.items():
            axes.barh(place, value, 0.62, left=end, color=COLOURS[stage])
            end += value
        if not bar.parts:
            axes.barh(place, bar.length, 0.62, color=WHOLE_COLOUR)
        axes.text(
            max(end, bar.length) + 0.015 * longest,
            place,
            _label(bar, bars[0]) if place else short_number(bar.length),
            va="center",
            fontsize=8,
        )
    axes.set_title(title, fontsize=10, loc="left")
    # Room for the numbers behind the bars.
    axes.set_xlim(0, 1.35 * longest if longest else 1)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _label(bar: _Bar, base: _Bar) -> str:
    if bar.times.get("ratio") is not None:
        low, high = bar.times["ratio_interval"]
        ratio = f"×{bar.times['ratio']:.2f}\n({low:.2f} to {high:.2f})"
    elif base.length:
        ratio = f"×{bar.length / base.length:.2f}"
    else:
        ratio = ""
    return f"{short_number(bar.length)}  {ratio}"
