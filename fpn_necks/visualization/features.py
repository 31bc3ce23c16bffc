"""Feature maps of any detector with a backbone and a neck: C_i, M_i and P_i.

As DRFPN's Fig. 1 and Fig. 5 of "You Should Look at All Objects" show them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from fpn_necks.auxiliary.features import LATERALS, find_levels, record_features
from fpn_necks.hooks.recording import level_number, level_numbers, observe

from .figures import HeatMap, HeatRow, choose_levels
from .views import View, run


def collect_features(
    model: nn.Module,
    view: View,
    levels: Sequence[str] | None = None,
    channel: int | None = None,
) -> list[HeatRow]:
    """Record the maps of a detection: one row for C, one for M, one per stage for P.

    C_i is what the backbone returns, M_i what the lateral convs of the neck give, and
    P_i what a stage of the neck returns; a neck that is a list (FPN, then ASFF) has a
    row for each. The number is log2 of the stride, which is measured.
    """
    neck = getattr(model, "neck", None)
    necks = neck if isinstance(neck, nn.Sequential) else [neck]
    stages = {"C: backbone,": model.backbone}
    stages |= {f"P{i}": x for i, x in enumerate(necks) if x is not None}
    found: dict[str, tuple[HeatMap, ...]] = {}

    def look(name: str, _inputs: tuple, output: Any) -> None:
        maps = [output] if isinstance(output, Tensor) else output
        found.setdefault(name, _heat_maps(name[0], maps, view.padded, channel))

    try:
        laterals = find_levels(model, LATERALS)
    except ValueError:  # a neck without any, or no neck
        laterals = ()
    with observe(stages, look), record_features(model, laterals) as inner:
        run(model, view)
    middle = _heat_maps("M", list(inner.values()), view.padded, channel)
    rows = [
        (f"{re.sub('[0-9]+', ':', name)} {type(stage).__name__}", found.get(name))
        for name, stage in stages.items()
    ]
    rows.insert(1, ("M: lateral convs of the neck", middle))
    unit = channel_unit(channel)
    kept = [HeatRow(label, unit, view, maps) for label, maps in rows if maps]
    return choose_levels(kept, levels)


def reduce_channels(x: Tensor, channel: int | None = None) -> np.ndarray:
    """Turn ``(N, C, h, w)`` into ``(h, w)`` of the first image.

    Without a channel it is the root of the mean square of all, which compares maps of
    different widths. A ValueError says that there is no such channel.
    """
    first = x[0].detach().float()
    if channel is None:
        return first.square().mean(0).sqrt().cpu().numpy()
    if not 0 <= channel < len(first):
        raise ValueError(
            f"channel must lie in [0, {len(first) - 1}] for a map of {len(first)} "
            f"channels, got {channel}"
        )
    return first[channel].cpu().numpy()


def channel_unit(channel: int | None) -> str:
    """Say what `reduce_channels` returns."""
    if channel is None:
        return "root mean square over channels"
    return f"value of channel {channel}"


def _heat_maps(
    letter: str, maps: Sequence[Tensor], padded: tuple[int, int], channel: int | None
) -> tuple[HeatMap, ...]:
    sizes = [tuple(x.shape[-2:]) for x in maps]
    numbers = level_numbers(padded, sizes)
    return tuple(
        HeatMap(
            f"{letter.lower()}{number}",
            number,
            f"{letter}{number}: stride {2 ** level_number(padded, size)}, "
            f"{x.shape[1]} channels",
            reduce_channels(x, channel),
        )
        for number, size, x in zip(numbers, sizes, maps, strict=True)
    )
