"""The matrices M_k by which CFG-FPN groups the channels of a level."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from torch import Tensor, nn

from fpn_necks.hooks.recording import find_modules, level_numbers, observe
from fpn_necks.layers import FeatureGrouping

from .figures import HeatMap, HeatRow, choose_levels, draw_heat_rows
from .views import View, run


def collect_grouping(
    model: nn.Module, view: View, levels: Sequence[str] | None = None
) -> list[HeatRow]:
    """Record the matrices of all stages, for an image: they depend on it.

    Most of a matrix at the start of a training is the identity plus small noise: the
    scale ends at the 99.9th percentile of what is off the diagonal, and larger values
    have the colour of its end.

    Returns:
        A row per stage with M_k of Eq. 12 and 13 for each level k, ``(W, W)``: row r
        says what channel r of the result takes from each channel of level k.
    """
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
    others = [
        np.abs(x[~np.eye(len(x), dtype=bool)])
        for parts in found.values()
        for _, x in parts
    ]
    end = float(np.percentile(np.concatenate(others), 99.9)) or 1.0
    rows = []
    for stage, parts in enumerate(found.values(), 1):
        numbers = level_numbers(view.padded, [size for size, _ in parts])
        groups = tuple(f"P{number}" for number in numbers)
        maps = tuple(
            HeatMap(f"p{k}", k, f"M of P{k}, by its channels", matrix, groups=groups)
            for k, (_, matrix) in zip(numbers, parts, strict=True)
        )
        rows.append(
            HeatRow(
                f"stage {stage}", "entry of M", view, maps, (-end, end), "M", "RdBu_r"
            )
        )
    return choose_levels(rows, levels)


draw_grouping = partial(
    draw_heat_rows, title="grouping matrices M of CFG-FPN, rows by group of the result"
)
"""Write a picture of what `collect_grouping` returned for some detectors."""
