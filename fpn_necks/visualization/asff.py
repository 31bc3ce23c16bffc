"""ASFF's weight maps, as in Fig. 3 and 4 of its paper."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fpn_necks.hooks.recording import find_modules, level_numbers
from fpn_necks.hooks.weights import record_asff_weights
from fpn_necks.necks.asff import ASFF

from .figures import HeatMap, HeatRow, choose_levels
from .views import View, run


def collect_asff_weights(
    model: nn.Module, view: View, levels: Sequence[str] | None = None
) -> list[HeatRow]:
    """Record the weights that every fused level gives to all levels.

    Returns:
        One row per fused level, a map per level it takes features from. At each place
        the maps of a row sum to 1.
    """
    find_modules(model, ASFF, "has no ASFF, so no weights")
    with record_asff_weights(model) as found:
        run(model, view)
    if not found:
        raise ValueError("the ASFF of this model has no weights: its fusion is no asff")
    rows = []
    for maps in found.values():
        numbers = level_numbers(view.padded, [x.shape[-2:] for x in maps])
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        for target in order:
            heat_maps = []
            for source in order:
                x = maps[target][0, source].float().cpu().numpy()
                title = f"from P{numbers[source]}: mean {x.mean():.2f}"
                level = f"p{numbers[target]}"
                heat_maps.append(HeatMap(level, numbers[source], title, x))
            label = f"fused P{numbers[target]}"
            rows.append(HeatRow(label, "weight", view, tuple(heat_maps), (0.0, 1.0)))
    return choose_levels(rows, levels)
