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
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import Tensor, nn

from fpn_necks.layers import SpatialRefinement, fit_to, resize_to

from .features import channel_unit, reduce_channels
from .heat_maps import (
    check_levels,
    new_figure,
    panel_size,
    save,
    show_image,
    show_map,
    wrap,
)
from .recording import find_modules, level_number, observe
from .views import View, run

ARROWS = 26  # along the longer side
TITLES = (
    "{source} resized, as FPN adds it",
    "learnt offsets δ{scale}",
    "weight ω of what is sampled",
    "refined {source}: sampled · ω + resized",
)


@dataclass(frozen=True)
class Sampling:
    """One spatial block.

    Attributes:
        path: of the block below the model.
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

    path: str
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
    """Record what the spatial blocks of a DRFPN do.

    Args:
        model: detector with ``SpatialRefinement`` in its neck.
        view: image.
        levels: targets to keep, such as ``["p3"]``; ``None`` for all.
        channel: see ``collect_features``.

    Returns:
        The finest target first.

    Raises:
        ValueError: the model has no such block, or no such level or channel.
    """
    blocks = find_modules(model, SpatialRefinement)
    if not blocks:
        raise ValueError(
            f"the {type(model).__name__} has no spatial refinement (DRFPN's SRB)"
        )
    found: list[Sampling] = []

    def look(path: str, inputs: tuple, output: Any) -> None:
        low, high = inputs
        found.append(_sampling(path, blocks[path], low, high, output, view, channel))

    with observe(blocks, look):
        run(model, view)
    check_levels([x.target.lower() for x in found], levels)
    kept = [x for x in found if levels is None or x.target.lower() in levels]
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


@torch.no_grad()
def _sampling(
    path: str,
    block: SpatialRefinement,
    low: Tensor,
    high: Tensor,
    refined: Tensor,
    view: View,
    channel: int | None,
) -> Sampling:
    if block.path == "top-down":
        source, target = high, low
        plain = resize_to(high, low, block.upsample_cfg)
    else:
        source, target = low, high
        plain = fit_to(block.downsample(low), high)
    offset, weight = block.offset_and_weight(low, high)
    pixels = None
    if offset is not None:
        pixels = offsets_in_pixels(block, offset, target, view.padded)[0]
    names = [
        f"P{level_number(view.padded, tuple(x.shape[-2:]))}" for x in (source, target)
    ]
    return Sampling(
        path,
        view,
        *names,
        plain=reduce_channels(plain, channel),
        offsets=None if pixels is None else pixels.float().cpu().numpy(),
        weight=None if weight is None else weight[0, 0].float().cpu().numpy(),
        refined=reduce_channels(refined, channel),
        unit=channel_unit(channel),
    )


def draw_sampling(
    entries: Sequence[tuple[str, Sequence[Sampling]]], path: str | Path
) -> None:
    """Write a picture: a row per block, of two detectors below each other.

    The two maps of a row share their colours.
    """
    rows = [(label, x) for label, blocks in entries for x in blocks]
    rows.sort(key=lambda row: int(row[1].target[1:]))
    shapes = [x.view.image.shape for _, x in rows]
    height, width = panel_size(max(shape[0] / shape[1] for shape in shapes))
    figure, grid = new_figure(
        f"{rows[0][1].view.name}: sampling of the spatial refinement blocks (DRFPN)",
        len(rows),
        len(TITLES),
        (width + 0.95, height + 0.4),
        margins=(0.7, 0.3),
    )
    for axes_of_row, (label, sampling) in zip(grid, rows, strict=True):
        name = f"{sampling.source} → {sampling.target}"
        several = len(entries) > 1
        _draw_row(figure, axes_of_row, sampling)
        text = f"{name}\n{label}" if several else name
        axes_of_row[0].set_ylabel(wrap(text), fontsize=9)
    save(figure, path)


def _draw_row(figure: Figure, row: Sequence[Axes], sampling: Sampling) -> None:
    view, maps = sampling.view, (sampling.plain, sampling.refined)
    limits = min(x.min() for x in maps), max(x.max() for x in maps)
    scale = ""
    if sampling.offsets is not None:
        scale = _draw_field(figure, row[1], sampling)
    if sampling.weight is not None:
        weight = sampling.weight
        spread = (float(weight.min()), float(weight.max()))
        shown = show_map(row[2], view, weight, spread, "viridis")
        _bar(figure, row[2], shown, "ω")
    for axes, values in zip((row[0], row[3]), maps, strict=True):
        shown = show_map(axes, view, values, limits)
        _bar(figure, axes, shown, sampling.unit)
    for axes, title in zip(row, TITLES, strict=True):
        text = title.format(source=sampling.source, scale=scale)
        axes.set_title(text, fontsize=9)
    for axes, value in ((row[1], sampling.offsets), (row[2], sampling.weight)):
        if value is None:
            show_image(axes, view)
            axes.set_title("not learnt in this config", fontsize=9)


def _draw_field(figure: Figure, axes: Axes, sampling: Sampling) -> str:
    """Draw arrows from cells to where they sample; return what is said of them."""
    view = sampling.view
    show_image(axes, view)
    rows, columns = sampling.offsets.shape[1:]
    step = max(1, -(-max(rows, columns) // ARROWS))
    i, j = np.mgrid[step // 2 : rows : step, step // 2 : columns : step]
    cell = np.array([view.padded[1] / columns, view.padded[0] / rows])
    x, y = (j + 0.5) * cell[0], (i + 0.5) * cell[1]
    inside = (x < view.image.shape[1]) & (y < view.image.shape[0])
    dx, dy = (part[i, j][inside] for part in sampling.offsets)
    lengths = np.hypot(dx, dy)
    longest = float(lengths.max()) if lengths.size else 0.0
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
    axes.set_xlim(0, view.image.shape[1])
    axes.set_ylim(view.image.shape[0], 0)
    _bar(figure, axes, arrows, "length in pixels of the input")
    return f", arrows × {factor:.3g}"


def _bar(figure: Figure, axes: Axes, shown: ScalarMappable, label: str) -> None:
    bar = figure.colorbar(shown, ax=axes, pad=0.02, aspect=16)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
