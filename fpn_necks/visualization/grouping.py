"""The matrices M_k by which CFG-FPN groups the channels of a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from torch import Tensor, nn

from fpn_necks.layers import FeatureGrouping, GroupingMatrix

from .heat_maps import check_levels, new_figure, save, wrap
from .recording import find_modules, level_numbers, observe
from .views import View, run


@dataclass(frozen=True)
class Grouping:
    """M_k of Eq. 12 and 13 for one level of one stage.

    Attributes:
        view: the image.
        stage: 1, 2, ...
        source: level k whose channels are multiplied, such as ``"P4"``.
        targets: level of each group of rows, as many rows each.
        matrix: ``(W, W)``; row r says what channel r of the result takes from each
            channel of the source.
    """

    view: View
    stage: int
    source: str
    targets: tuple[str, ...]
    matrix: np.ndarray


def collect_grouping(
    model: nn.Module, view: View, levels: Sequence[str] | None = None
) -> list[Grouping]:
    """Record the matrices of all stages.

    Args:
        model: detector with a ``CFGFPN``.
        view: image; the matrices depend on it.
        levels: sources to keep, such as ``["p3"]``; ``None`` for all.

    Raises:
        ValueError: the model groups no features, or there is no such level.
    """
    stages = find_modules(model, FeatureGrouping)
    if not stages:
        raise ValueError(
            f"the {type(model).__name__} groups no features: its neck is no CFGFPN"
        )
    matrices: dict[str, GroupingMatrix] = {
        f"{path}:{k}": matrix
        for path, stage in stages.items()
        for k, matrix in enumerate(stage.matrices)
    }
    found: dict[str, tuple[tuple[int, int], Tensor]] = {}

    def look(name: str, inputs: tuple, output: Tensor) -> None:
        size = tuple(inputs[0].shape[-2:])
        found.setdefault(name, (size, output[0].detach().float().cpu()))

    with observe(matrices, look):
        run(model, view)
    result = []
    for number_of_stage, path in enumerate(stages, 1):
        parts = [found[f"{path}:{k}"] for k in range(len(stages[path].matrices))]
        numbers = level_numbers(view.padded, [size for size, _ in parts])
        targets = tuple(f"P{number}" for number in numbers)
        result += [
            Grouping(view, number_of_stage, source, targets, matrix.numpy())
            for source, (_, matrix) in zip(targets, parts, strict=True)
        ]
    check_levels([x.source.lower() for x in result], levels)
    return [x for x in result if levels is None or x.source.lower() in levels]


def draw_grouping(
    entries: Sequence[tuple[str, Sequence[Grouping]]], path: str | Path
) -> None:
    """Write a picture: a row per stage, a panel per level, one scale for all.

    Most of a matrix at the start of a training is the identity plus small noise; the
    scale ends at the 99.9th percentile of what is off the diagonal, and larger values
    have the colour of its end.
    """
    rows: dict[tuple[int, str], list[Grouping]] = {}
    for stage in sorted({x.stage for _, found in entries for x in found}):
        for label, found in entries:
            if of_stage := [x for x in found if x.stage == stage]:
                rows[stage, label] = of_stage
    columns = max(len(row) for row in rows.values())
    figure, grid = new_figure(
        f"{entries[0][1][0].view.name}: grouping matrices M of CFG-FPN",
        len(rows),
        columns,
        (2.9, 3.2),
        margins=(1.5, 0.3),
    )
    end = _scale([x.matrix for row in rows.values() for x in row])
    for axes_of_row, ((stage, label), row) in zip(grid, rows.items(), strict=True):
        for axes in axes_of_row[len(row) :]:
            axes.set_visible(False)
        for axes, grouping in zip(axes_of_row, row, strict=False):
            shown = _draw_matrix(axes, grouping, end)
        name = f"stage {stage}\n{label}" if len(entries) > 1 else f"stage {stage}"
        axes_of_row[0].set_ylabel(f"{wrap(name)}\ngroup of the result", fontsize=9)
    bar = figure.colorbar(shown, ax=grid, extend="both", pad=0.01, aspect=45)
    bar.set_label("entry of M", fontsize=9)
    save(figure, path)


def _draw_matrix(axes: Axes, grouping: Grouping, end: float) -> AxesImage:
    width = len(grouping.matrix)
    per_group = width // len(grouping.targets)
    shown = axes.imshow(
        grouping.matrix,
        cmap="RdBu_r",
        vmin=-end,
        vmax=end,
        extent=(0, width, width, 0),
        interpolation="antialiased",
    )
    for border in range(per_group, width, per_group):
        axes.axhline(border, color="black", linewidth=0.6)
    places = [per_group * (i + 0.5) for i in range(len(grouping.targets))]
    axes.set_yticks(places, [f"to {name}" for name in grouping.targets], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title(f"M of {grouping.source}", fontsize=9)
    axes.set_xlabel(f"channel of {grouping.source}", fontsize=8)
    return shown


def _scale(matrices: Sequence[np.ndarray]) -> float:
    others = [np.abs(x[~np.eye(len(x), dtype=bool)]) for x in matrices]
    end = float(np.percentile(np.concatenate(others), 99.9))
    return end if end > 0 else 1.0
