"""The matrices M_k by which CFG-FPN groups the channels of a level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from fpn_necks.hooks.recording import find_modules, level_numbers, observe
from fpn_necks.layers import FeatureGrouping

from .figures import HeatMap, HeatRow, choose_levels
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
    missing = "groups no features: its neck is no CFGFPN"
    stages = find_modules(model, FeatureGrouping, missing)
    found: dict[str, list[tuple[tuple[int, int], np.ndarray]]] = {p: [] for p in stages}

    def look(key: tuple[str, int], inputs: tuple, output: Tensor) -> None:
        matrix = output[0].detach().float().cpu().numpy()
        found[key[0]].append((inputs[0].shape[-2:], matrix))

    matrices = {
        (path, k): matrix
        for path, stage in stages.items()
        for k, matrix in enumerate(stage.matrices)
    }
    with observe(matrices, look):
        run(model, view)
    every = [matrix for parts in found.values() for _, matrix in parts]
    others = [np.abs(x[~np.eye(len(x), dtype=bool)]) for x in every]
    end = float(np.percentile(np.concatenate(others), 99.9)) or 1.0
    style = dict(limits=(-end, end), scale="M", colours="RdBu_r")
    rows = []
    for stage, parts in enumerate(found.values(), 1):
        numbers = level_numbers(view.padded, [size for size, _ in parts])
        groups = tuple(f"P{number}" for number in numbers)
        maps = tuple(
            HeatMap(f"p{k}", k, f"M of P{k}, by its channels", matrix, groups=groups)
            for k, (_, matrix) in zip(numbers, parts, strict=True)
        )
        rows.append(HeatRow(f"stage {stage}", "entry of M", view, maps, **style))
    return choose_levels(rows, levels)
