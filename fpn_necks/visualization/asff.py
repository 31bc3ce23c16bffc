"""ASFF's weight maps, as in Fig. 3 and 4 of its paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from fpn_necks.necks.asff import ASFF

from .figures import HeatMap, HeatRow, choose_levels, draw_heat_rows
from .recording import find_modules, level_numbers
from .views import View, run
from .weights import record_asff_weights


def collect_asff_weights(
    model: nn.Module, view: View, levels: Sequence[str] | None = None
) -> list[HeatRow]:
    """Record the weights that every fused level gives to all levels.

    Returns:
        One row per fused level, a map per level it takes features from. At each place
        the maps of a row sum to 1.
    """
    if not find_modules(model, ASFF):
        raise ValueError(f"the {type(model).__name__} has no ASFF, so no weights")
    with record_asff_weights(model) as found:
        run(model, view)
    if not found:
        raise ValueError("the ASFF of this model has no weights: its fusion is no asff")
    rows = []
    for path, maps in found.items():
        numbers = level_numbers(view.padded, [tuple(x.shape[-2:]) for x in maps])
        where = "" if len(found) == 1 else f"\n{path}"
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        for target in order:
            heat_maps = []
            for source in order:
                x = maps[target][0, source].float().cpu().numpy()
                title = f"from P{numbers[source]}: mean {x.mean():.2f}"
                level = f"p{numbers[target]}"
                heat_maps.append(HeatMap(level, numbers[source], title, x))
            label = f"fused P{numbers[target]}{where}"
            rows.append(HeatRow(label, "weight", view, tuple(heat_maps), (0.0, 1.0)))
    return choose_levels(rows, levels)


def draw_asff_weights(
    entries: Sequence[tuple[str, Sequence[HeatRow]]], path: str | Path
) -> None:
    """Write a picture of the rows of `collect_asff_weights`."""
    title = "how much each fused level takes from each level (ASFF)"
    draw_heat_rows(entries, path, title)
