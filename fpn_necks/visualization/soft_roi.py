"""Share of each level in the features of RoIs, as in AugFPN's Fig. 4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fpn_necks.hooks.recording import find_modules
from fpn_necks.hooks.weights import record_soft_roi_weights
from fpn_necks.io import save_figure
from fpn_necks.roi_extractors import SoftRoIExtractor, level_shares, original_levels

from .figures import COLOURS, DPI, check_levels, new_figure, row_label
from .views import View, run


@dataclass(frozen=True)
class Shares:
    """Shares of the levels of one extractor.

    Attributes:
        levels: names such as ``"P2"``.
        shown: those that have a panel.
        counts: ``(levels,)`` RoIs that plain assignment would give to each level.
        shares: ``(levels, levels)``: row g is of the RoIs of level g, and sums to 1;
            NaN where there is none.
    """

    levels: tuple[str, ...]
    shown: tuple[str, ...]
    counts: np.ndarray
    shares: np.ndarray


def collect_soft_roi_shares(
    model: nn.Module, views: Iterable[View], levels: Sequence[str] | None = None
) -> dict[str, Shares]:
    """Average the weights of all RoIs of some images, by the extractor's path."""
    missing = "has no SoftRoIExtractor: there are no shares"
    extractors = find_modules(model, SoftRoIExtractor, missing)
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for view in views:
        with record_soft_roi_weights(model) as found:
            run(model, view)
        for path, of_image in found.items():
            calls.setdefault(path, []).extend(of_image)
    if not calls:
        raise ValueError("the Soft-RoI extractors' fusion is neither asf nor acf")
    result = {}
    for path, parts in calls.items():
        strides = extractors[path].featmap_strides
        names = tuple(f"P{round(math.log2(stride))}" for stride in strides)
        check_levels([name.lower() for name in names], levels)
        rois, weights = (torch.cat(x) for x in zip(*parts, strict=True))
        # By the level that FPN would have assigned them to.
        groups = original_levels(rois, len(strides))
        result[path] = Shares(
            levels=names,
            shown=tuple(x for x in names if not levels or x.lower() in levels),
            counts=torch.bincount(groups, minlength=len(strides)).cpu().numpy(),
            shares=level_shares(weights, groups).cpu().numpy(),
        )
    return result


def draw_soft_roi_shares(
    entries: Sequence[tuple[str, Mapping[str, Shares]]], path: str | Path
) -> None:
    """Write a picture: a row per extractor, a panel per originally assigned level."""
    rows = [(label, name, x) for label, table in entries for name, x in table.items()]
    rows.sort(key=lambda row: row[1])
    figure, grid = new_figure(
        "Share of each level in the RoI features (Soft-RoI Selection), by the level to "
        "which plain FPN would assign the RoI",
        (len(rows), max(len(x.shown) for _, _, x in rows)),
        (2.5, 2.7),
        margins=(0.8, 0.8),
    )
    top = max(np.nanmax(np.append(x.shares, 0.5)) for _, _, x in rows)
    for axes_of_row, (label, name, x) in zip(grid, rows, strict=True):
        for axes in axes_of_row[len(x.shown) :]:  # another extractor has more levels
            axes.set_visible(False)
        for axes, panel in zip(axes_of_row, x.shown, strict=False):
            level = x.levels.index(panel)
            shares = x.shares[level]
            bars = axes.bar(x.levels, np.nan_to_num(shares), color=COLOURS[0])
            if x.counts[level]:
                texts = [f"{share:.2f}" for share in shares]
                axes.bar_label(bars, texts, fontsize=7, padding=2)
            axes.set_title(f"RoIs of {panel} ({x.counts[level]})", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.grid(axis="y", alpha=0.3)
            axes.set_axisbelow(True)
            axes.set_ylim(0, top * 1.18)
        text = f"{row_label(name, label, entries)}\nshare"
        axes_of_row[0].set_ylabel(text, fontsize=9)
    save_figure(figure, path, dpi=DPI)
