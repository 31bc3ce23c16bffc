"""Share of each level in the features of RoIs, as in AugFPN's Fig. 4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fpn_necks.roi_extractors import SoftRoIExtractor, level_shares, original_levels

from .figures import COLOURS, check_levels, is_chosen, new_figure, save, wrap
from .recording import find_modules
from .views import View, run
from .weights import RoIWeights, record_soft_roi_weights


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
    """Record the weights of all RoIs of some images, by the extractor's path."""
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
    """Average weights over RoIs, by the level that FPN would have assigned them to."""
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
    """Write a picture: a row per extractor, a panel per originally assigned level."""
    tables = [{k: shares_of(x) for k, x in weights.items()} for _, weights in entries]
    every = [x for table in tables for x in table.values()]
    names = list(dict.fromkeys(name for table in tables for name in table))
    known = list(dict.fromkeys(p for x in every for p in x.levels))
    check_levels([level.lower() for level in known], levels)
    panels = [p for p in known if is_chosen(p.lower(), levels)]
    figure, grid = new_figure(
        "Share of each level in the RoI features (Soft-RoI Selection), by the level to "
        "which plain FPN would assign the RoI",
        (len(names), len(panels)),
        (2.5, 2.7),
        margins=(0.8, 0.8),
    )
    top = max(np.nanmax(np.append(x.shares, 0.5)) for x in every)
    width = 0.8 / len(tables)
    for axes_of_row, name in zip(grid, names, strict=True):
        for axes, panel in zip(axes_of_row, panels, strict=True):
            counts = []
            for place, table in enumerate(tables):
                if name not in table:
                    continue
                x = table[name]
                row = x.levels.index(panel)
                counts.append(str(x.counts[row]))
                bars = axes.bar(
                    np.arange(len(x.levels)) + (place - (len(tables) - 1) / 2) * width,
                    np.nan_to_num(x.shares[row]),
                    width,
                    color=COLOURS[place % len(COLOURS)],
                )
                if x.counts[row]:
                    axes.bar_label(
                        bars,
                        [f"{value:.2f}" for value in x.shares[row]],
                        fontsize=7,
                        padding=2,
                        rotation=90 if len(tables) > 1 else 0,
                    )
                axes.set_xticks(range(len(x.levels)), x.levels)
            axes.set_title(f"RoIs of {panel} ({' / '.join(counts)})", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.grid(axis="y", alpha=0.3)
            axes.set_axisbelow(True)
            axes.set_ylim(0, top * 1.18)
        axes_of_row[0].set_ylabel(f"{wrap(name)}\nshare", fontsize=9)
    if len(tables) > 1:
        figure.legend(
            handles=grid[0, 0].containers,
            labels=[wrap(label, 40) for label, _ in entries],
            loc="outside lower center",
            fontsize=8,
        )
    save(figure, path)
