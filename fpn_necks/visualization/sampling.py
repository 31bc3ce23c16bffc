"""Where DRFPN samples the level above, and what it makes of it.

As in Fig. 4 and 5 of its paper: the level as a plain pyramid passes it on, the learnt
offsets, the weight ω of each place, and the refined map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from fpn_necks.layers import SpatialRefinement, fit_to, resize_to

from .features import channel_unit, reduce_channels
from .figures import (
    add_bar,
    check_levels,
    is_chosen,
    new_figure,
    panel_size,
    save,
    show_image,
    show_map,
    value_range,
    wrap,
)
from .recording import find_modules, level_number, observe
from .views import View, run

ARROWS = 26  # along the longer side


@dataclass(frozen=True)
class Sampling:
    """One spatial block.

    Attributes:
        view: the image.
        source: level that is sampled, such as ``"P4"``.
        target: level that the result is added to.
        plain: ``(h, w)`` the source resized to the target, one channel or all.
        offsets: ``(2, h, w)`` how far the learnt δ moves the sampling point, x before
            y, in pixels of the network's image; ``None`` if it is not learnt.
        weight: ``(h, w)`` ω; ``None`` if it is not learnt.
        refined: ``(h, w)`` what the block returns, reduced as ``plain``.
        unit: of both.
    """

    view: View
    source: str
    target: str
    plain: np.ndarray
    offsets: np.ndarray | None
    weight: np.ndarray | None
    refined: np.ndarray
    unit: str


def collect_sampling(
    model: nn.Module,
    view: View,
    levels: Sequence[str] | None = None,
    channel: int | None = None,
) -> list[Sampling]:
    """Record what the spatial blocks of a DRFPN do, the finest target first."""
    blocks = find_modules(model, SpatialRefinement)
    if not blocks:
        raise ValueError(
            f"the {type(model).__name__} has no spatial refinement (DRFPN's SRB)"
        )
    found: list[Sampling] = []

    @torch.no_grad()
    def look(path: str, inputs: tuple, refined: Any) -> None:
        block, (low, high) = blocks[path], inputs
        if block.path == "top-down":
            source, target = high, low
            plain = resize_to(high, low, block.upsample_cfg)
        else:
            source, target = low, high
            plain = fit_to(block.downsample(low), high)
        offset, weight = block.offset_and_weight(low, high)
        if offset is not None:
            offset = offsets_in_pixels(block, offset, target, view.padded)[0]
        sizes = [tuple(x.shape[-2:]) for x in (source, target)]
        found.append(
            Sampling(
                view,
                *(f"P{level_number(view.padded, size)}" for size in sizes),
                plain=reduce_channels(plain, channel),
                offsets=None if offset is None else offset.float().cpu().numpy(),
                weight=None if weight is None else weight[0, 0].float().cpu().numpy(),
                refined=reduce_channels(refined, channel),
                unit=channel_unit(channel),
            )
        )

    with observe(blocks, look):
        run(model, view)
    check_levels([x.target.lower() for x in found], levels)
    kept = [x for x in found if is_chosen(x.target.lower(), levels)]
    return sorted(kept, key=lambda x: int(x.target[1:]))


@torch.no_grad()
def offsets_in_pixels(
    block: SpatialRefinement, offset: Tensor, target: Tensor, padded: tuple[int, int]
) -> Tensor:
    """Return how far δ moves the sampling points, ``(N, 2, h, w)``, x before y.

    The difference of the points with δ and those with δ = 0, whatever the block's
    ``offset_scale`` and ``base_grid``.

    Args:
        block: whose δ it is.
        offset: δ of ``offset_and_weight``, ``(N, 2, h, w)``.
        target: map of the level that is added to, ``(N, C, h, w)``.
        padded: height and width in pixels of what the network sees.
    """
    moved = block.sampling_grid(offset, target)
    still = block.sampling_grid(torch.zeros_like(offset), target)
    # [-1, 1] is the whole of the map and so of the padded image.
    half = moved.new_tensor([padded[1] / 2, padded[0] / 2])
    return ((moved - still) * half).permute(0, 3, 1, 2)


def draw_sampling(
    entries: Sequence[tuple[str, Sequence[Sampling]]], path: str | Path
) -> None:
    """Write a picture: a row per block, of two detectors below each other.

    The two maps of a row share their colours.
    """
    rows = [(label, x) for label, blocks in entries for x in blocks]
    rows.sort(key=lambda row: int(row[1].target[1:]))
    height, width = panel_size([x.view for _, x in rows])
    figure, grid = new_figure(
        f"{rows[0][1].view.name}: sampling of the spatial refinement blocks (DRFPN)",
        (len(rows), 4),
        (width + 0.95, height + 0.4),
        margins=(0.7, 0.3),
    )
    for axes, (label, x) in zip(grid, rows, strict=True):
        limits = value_range([x.plain, x.refined])
        for place, values in ((axes[0], x.plain), (axes[3], x.refined)):
            add_bar(figure, place, show_map(place, x.view, values, limits), x.unit)
        axes[0].set_title(f"{x.source} resized, as FPN adds it", fontsize=9)
        axes[3].set_title(f"refined {x.source}: sampled · ω + resized", fontsize=9)
        for place in axes[1:3]:
            show_image(place, x.view)
            place.set_title("not learnt in this config", fontsize=9)
        if x.offsets is not None:
            factor = _draw_offsets(figure, axes[1], x.view, x.offsets)
            title = f"learnt offsets δ, arrows × {factor:.3g}"
            axes[1].set_title(title, fontsize=9)
        if x.weight is not None:
            spread = value_range([x.weight])
            shown = show_map(axes[2], x.view, x.weight, spread, "viridis")
            add_bar(figure, axes[2], shown, "ω")
            axes[2].set_title("weight ω of what is sampled", fontsize=9)
        name = f"{x.source} → {x.target}"
        text = f"{name}\n{label}" if len(entries) > 1 else name
        axes[0].set_ylabel(wrap(text), fontsize=9)
    save(figure, path)


def _draw_offsets(figure: Figure, axes: Axes, view: View, offsets: np.ndarray) -> float:
    """Draw arrows from cells to where they sample; return how much longer they are."""
    rows, columns = offsets.shape[1:]
    step = max(1, -(-max(rows, columns) // ARROWS))
    i, j = np.mgrid[step // 2 : rows : step, step // 2 : columns : step]
    cell = np.array([view.padded[1] / columns, view.padded[0] / rows])
    x, y = (j + 0.5) * cell[0], (i + 0.5) * cell[1]
    height, width = view.image.shape[:2]
    inside = (x < width) & (y < height)
    dx, dy = (part[i, j][inside] for part in offsets)
    lengths = np.hypot(dx, dy)
    longest = float(lengths.max(initial=0.0))
    # Short arrows would be dots, long ones a tangle.
    factor = 1.6 * step * cell.max() / longest if longest > 0 else 1.0
    arrows = axes.quiver(
        x[inside],
        y[inside],
        dx * factor,
        dy * factor,
        lengths,
        cmap="autumn_r",
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.005,
    )
    axes.set(xlim=(0, width), ylim=(height, 0))
    add_bar(figure, axes, arrows, "length in pixels of the input")
    return factor
