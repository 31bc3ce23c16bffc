"""The matrices M_k by which CFG-FPN groups the channels of a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from fpn_necks.layers import FeatureGrouping

from .figures import check_levels, is_chosen, new_figure, save, wrap
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
    """Record the matrices of all stages, for an image: they depend on it."""
    stages = find_modules(model, FeatureGrouping)
    if not stages:
        raise ValueError(
            f"the {type(model).__name__} groups no features: its neck is no CFGFPN"
        )
    found: dict[str, list[tuple[tuple[int, int], np.ndarray]]] = {p: [] for p in stages}

    def look(name: str, inputs: tuple, output: Tensor) -> None:
        size = tuple(inputs[0].shape[-2:])
        path = name.rsplit(":", 1)[0]
        found[path].append((size, output[0].detach().float().cpu().numpy()))

    matrices = {
        f"{path}:{k}": matrix
        for path, stage in stages.items()
        for k, matrix in enumerate(stage.matrices)
    }
    with observe(matrices, look):
        run(model, view)
    result = []
    for stage, parts in enumerate(found.values(), 1):
        numbers = level_numbers(view.padded, [size for size, _ in parts])
        names = tuple(f"P{number}" for number in numbers)
        for source, (_, matrix) in zip(names, parts, strict=True):
            result.append(Grouping(view, stage, source, names, matrix))
    check_levels([x.source.lower() for x in result], levels)
    return [x for x in result if is_chosen(x.source.lower(), levels)]


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
    figure, grid = new_figure(
        f"{entries[0][1][0].view.name}: grouping matrices M of CFG-FPN",
        (len(rows), max(len(row) for row in rows.values())),
        (2.9, 3.2),
        margins=(1.5, 0.3),
    )
    others = [
        np.abs(x.matrix[~np.eye(len(x.matrix), dtype=bool)])
        for row in rows.values()
        for x in row
    ]
    end = float(np.percentile(np.concatenate(others), 99.9)) or 1.0
    for axes_of_row, ((stage, label), row) in zip(grid, rows.items(), strict=True):
        for axes in axes_of_row[len(row) :]:
            axes.set_visible(False)
        for axes, x in zip(axes_of_row, row, strict=False):
            width = len(x.matrix)
            per_group = width // len(x.targets)
            shown = axes.imshow(
                x.matrix,
                cmap="RdBu_r",
                vmin=-end,
                vmax=end,
                extent=(0, width, width, 0),
                interpolation="antialiased",
            )
            for border in range(per_group, width, per_group):
                axes.axhline(border, color="black", linewidth=0.6)
            places = [per_group * (i + 0.5) for i in range(len(x.targets))]
            axes.set_yticks(places, [f"to {name}" for name in x.targets], fontsize=8)
            axes.tick_params(axis="x", labelsize=8)
            axes.set_title(f"M of {x.source}", fontsize=9)
            axes.set_xlabel(f"channel of {x.source}", fontsize=8)
        name = f"stage {stage}\n{label}" if len(entries) > 1 else f"stage {stage}"
        axes_of_row[0].set_ylabel(f"{wrap(name)}\ngroup of the result", fontsize=9)
    bar = figure.colorbar(shown, ax=grid, extend="both", pad=0.01, aspect=45)
    bar.set_label("entry of M", fontsize=9)
    save(figure, path)
