"""Share of each level in the features of RoIs, as in AugFPN's Fig. 4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import nn

from fpn_necks.roi_extractors import SoftRoIExtractor, level_shares, original_levels

from .heat_maps import check_levels, new_figure, save, wrap
from .recording import find_modules
from .views import View, run
from .weights import RoIWeights, record_soft_roi_weights

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


@dataclass(frozen=True)
class Shares:
    """Shares of the levels of one extractor.

    Attributes:
        levels: names such as ``"P2"``.
        counts: ``(levels,)`` RoIs that plain assignment would give to each level.
        shares: ``(levels, levels)``: row g is of the RoIs of level g, and sums to 1;
            NaN where there is none.
    """

    levels: tuple[str, ...]
    counts: np.ndarray
    shares: np.ndarray


def collect_soft_roi_weights(
    model: nn.Module, views: Iterable[View]
) -> dict[str, RoIWeights]:
    """Record the weights of all RoIs of some images.

    Args:
        model: two-stage detector with a ``SoftRoIExtractor``.
        views: images.

    Returns:
        What each extractor did, by its path below the model.

    Raises:
        ValueError: the model has no such extractor, or none with weights.
    """
    if not find_modules(model, SoftRoIExtractor):
        raise ValueError(
            f"the {type(model).__name__} has no SoftRoIExtractor: there are no shares"
        )
    total: dict[str, RoIWeights] = {}
    for view in views:
        with record_soft_roi_weights(model) as found:
            run(model, view)
        for path, new in found.items():
            total[path] = total[path].add(new) if path in total else new
    if not total:
        raise ValueError("the Soft-RoI extractors' fusion is neither asf nor acf")
    return total


def shares_of(weights: RoIWeights, finest_scale: float = 56.0) -> Shares:
    """Average weights over RoIs, by the level that FPN would have assigned them to.

    Args:
        weights: of RoIs.
        finest_scale: see ``fpn_necks.roi_extractors.original_levels``.
    """
    number = len(weights.strides)
    groups = original_levels(weights.rois, number, finest_scale)
    return Shares(
        levels=tuple(f"P{round(math.log2(stride))}" for stride in weights.strides),
        counts=torch.bincount(groups, minlength=number).cpu().numpy(),
        shares=level_shares(weights.weights, groups).cpu().numpy(),
    )


def draw_soft_roi_shares(
    entries: Sequence[tuple[str, Mapping[str, RoIWeights]]],
    path: str | Path,
    levels: Sequence[str] | None = None,
) -> None:
    """Write a picture: a row per extractor, a panel per originally assigned level.

    Args:
        entries: label and recorded weights of each detector; their bars stand side by
            side.
        path: picture file to write.
        levels: panels to keep, such as ``["p2"]``; ``None`` for all.

    Raises:
        ValueError: a level is not there.
    """
    tables = [
        (label, {name: shares_of(x) for name, x in weights.items()})
        for label, weights in entries
    ]
    names = list(dict.fromkeys(name for _, table in tables for name in table))
    known = list(
        dict.fromkeys(
            p for _, table in tables for x in table.values() for p in x.levels
        )
    )
    check_levels([level.lower() for level in known], levels)
    panels = [p for p in known if levels is None or p.lower() in levels]
    figure, grid = new_figure(
        "Share of each level in the RoI features (Soft-RoI Selection), by the level to "
        "which plain FPN would assign the RoI",
        len(names),
        len(panels),
        (2.5, 2.7),
        margins=(0.8, 0.8),
    )
    top = max(
        np.nanmax(np.append(x.shares, 0.5))
        for _, table in tables
        for x in table.values()
    )
    for axes_of_row, name in zip(grid, names, strict=True):
        for axes, panel in zip(axes_of_row, panels, strict=True):
            _draw_panel(axes, tables, name, panel)
            axes.set_ylim(0, top * 1.18)
        axes_of_row[0].set_ylabel(f"{wrap(name)}\nshare", fontsize=9)
    if len(tables) > 1:
        figure.legend(
            handles=grid[0, 0].containers,
            labels=[wrap(label, 40) for label, _ in tables],
            loc="outside lower center",
            fontsize=8,
        )
    save(figure, path)


def _draw_panel(
    axes: Axes, tables: Sequence[tuple[str, dict[str, Shares]]], name: str, panel: str
) -> None:
    present = [(i, t[name]) for i, (_, t) in enumerate(tables) if name in t]
    width = 0.8 / len(tables)
    counts = []
    for place, shares in present:
        row = shares.levels.index(panel)
        counts.append(str(shares.counts[row]))
        x = np.arange(len(shares.levels)) + (place - (len(tables) - 1) / 2) * width
        values = np.nan_to_num(shares.shares[row])
        bars = axes.bar(x, values, width, color=COLOURS[place % len(COLOURS)])
        if shares.counts[row]:
            vertical = 90 if len(tables) > 1 else 0
            labels = [f"{value:.2f}" for value in values]
            axes.bar_label(bars, labels, fontsize=7, padding=2, rotation=vertical)
    axes.set_xticks(range(len(present[0][1].levels)), present[0][1].levels)
    axes.set_title(f"RoIs of {panel} ({' / '.join(counts)})", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
