"""ASFF's weight maps, as in Fig. 3 and 4 of its paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from fpn_necks.necks.asff import ASFF

from .heat_maps import HeatMap, HeatRow, choose_levels, draw_heat_rows
from .recording import find_modules, level_numbers
from .views import View, run
from .weights import record_asff_weights


def collect_asff_weights(
    model: nn.Module, view: View, levels: Sequence[str] | None = None
) -> list[HeatRow]:
    """Record the weights that every fused level gives to all levels.

    Args:
        model: detector with an ASFF in its neck.
        view: image.
        levels: fused levels to keep, such as ``["p3"]``; ``None`` for all.

    Returns:
        One row per fused level, a map per level it takes features from. At each place
        the maps of a row sum to 1.

    Raises:
        ValueError: the model has no ASFF with weights, or no such level.
    """
    if not find_modules(model, ASFF):
        raise ValueError(f"the {type(model).__name__} has no ASFF, so no weights")
    with record_asff_weights(model) as found:
        run(model, view)
    if not found:
        raise ValueError("the ASFF of this model has no weights: its fusion is no asff")
    rows = []
    for path, maps in found.items():
        where = "" if len(found) == 1 else f"\n{path}"
        rows += _rows(maps, view, where)
    # One row is one fused level: --levels names rows here.
    return choose_levels(rows, levels)


def level_names(maps: Sequence[Tensor], padded: tuple[int, int]) -> list[int]:
    """Return log2 of the stride of fused levels from their weights."""
    return level_numbers(padded, [tuple(x.shape[-2:]) for x in maps])


def draw_asff_weights(
    entries: Sequence[tuple[str, Sequence[HeatRow]]], path: str | Path
) -> None:
    """Write a picture of the rows of ``collect_asff_weights``."""
    name = entries[0][1][0].view.name
    title = f"{name}: how much each fused level takes from each level (ASFF)"
    draw_heat_rows(entries, path, title)


def _rows(maps: Sequence[Tensor], view: View, where: str) -> list[HeatRow]:
    numbers = level_names(maps, view.padded)
    rows = []
    for target, weights in sorted(zip(numbers, maps, strict=True), key=lambda x: x[0]):
        heat_maps = tuple(
            HeatMap(
                f"p{target}",
                source,
                f"from P{source}: mean {float(weights[0, i].mean()):.2f}",
                weights[0, i].float().cpu().numpy(),
            )
            for source, i in sorted((n, i) for i, n in enumerate(numbers))
        )
        label = f"fused P{target}{where}"
        rows.append(HeatRow(label, "weight", view, heat_maps, (0.0, 1.0)))
    return rows
