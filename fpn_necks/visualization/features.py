"""Feature maps of any detector with a backbone and a neck: C_i, M_i and P_i.

As DRFPN's Fig. 1 and Fig. 5 of "You Should Look at All Objects" show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from fpn_necks.auxiliary.features import LATERALS, find_levels, record_features

from .heat_maps import HeatMap, HeatRow, choose_levels, draw_heat_rows
from .recording import level_number, level_numbers, observe
from .views import View, run

BACKBONE = "backbone"


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

    Args:
        model: detector with a ``backbone``, and a ``neck`` if it has one.
        view: image, see ``fpn_necks.visualization.views.prepare``.
        levels: names such as ``["c3", "p3"]``; ``None`` for all.
        channel: which channel is shown; ``None`` for the root of the mean square of
            all, which compares maps of different widths.

    Raises:
        ValueError: there is no backbone, or no such level or channel.
    """
    stages = _stages(model)
    found: dict[str, list[HeatMap]] = {}

    def look(name: str, _inputs: tuple, output: Any) -> None:
        letter = "C" if name == BACKBONE else "P"
        maps = [output] if isinstance(output, Tensor) else output
        if isinstance(maps, list | tuple) and all(isinstance(x, Tensor) for x in maps):
            heat_maps = _heat_maps(letter, maps, view.padded, channel)
            found.setdefault(name, heat_maps)

    laterals = _laterals(model)
    with observe(stages, look), record_features(model, laterals) as inner:
        run(model, view)
    neck = "M: lateral convs of the neck"
    found[neck] = _heat_maps("M", list(inner.values()), view.padded, channel)
    order = [BACKBONE, neck, *(name for name in stages if name != BACKBONE)]
    unit = channel_unit(channel)
    rows = [
        HeatRow(_label(model, stages, name), unit, view, tuple(found[name]))
        for name in order
        if found.get(name)
    ]
    return choose_levels(rows, levels)


def draw_features(
    entries: Sequence[tuple[str, Sequence[HeatRow]]], path: str | Path
) -> None:
    """Write a picture of the rows of ``collect_features`` of one or more detectors."""
    name = entries[0][1][0].view.name
    title = f"{name}: feature maps by level, one colour scale per kind of map"
    draw_heat_rows(entries, path, title)


def reduce_channels(x: Tensor, channel: int | None = None) -> np.ndarray:
    """Turn ``(N, C, h, w)`` into ``(h, w)`` of the first image.

    Args:
        x: maps.
        channel: the one to take; ``None`` for the root of the mean square of all.

    Raises:
        ValueError: there is no such channel.
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
    """Say what ``reduce_channels`` returns."""
    if channel is None:
        return "root mean square over channels"
    return f"value of channel {channel}"


def _heat_maps(
    letter: str, maps: Sequence[Tensor], padded: tuple[int, int], channel: int | None
) -> list[HeatMap]:
    sizes = [tuple(x.shape[-2:]) for x in maps]
    found = []
    for number, size, x in zip(level_numbers(padded, sizes), sizes, maps, strict=True):
        stride = 2 ** level_number(padded, size)
        title = f"{letter}{number}: stride {stride}, {x.shape[1]} channels"
        level = f"{letter.lower()}{number}"
        found.append(HeatMap(level, number, title, reduce_channels(x, channel)))
    return found


def _stages(model: nn.Module) -> dict[str, nn.Module]:
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ValueError(f"a {type(model).__name__} has no backbone to look at")
    stages: dict[str, nn.Module] = {BACKBONE: backbone}
    neck = getattr(model, "neck", None)
    if isinstance(neck, nn.Sequential):
        stages |= {f"neck.{name}": stage for name, stage in neck.named_children()}
    elif isinstance(neck, nn.Module):
        stages["neck"] = neck
    return stages


def _laterals(model: nn.Module) -> tuple:
    try:
        return find_levels(model, LATERALS)
    except ValueError:  # a neck without any, or no neck
        return ()


def _label(model: nn.Module, stages: dict[str, nn.Module], name: str) -> str:
    if name not in stages:
        return name
    kind = type(stages[name]).__name__
    return f"C: backbone, {kind}" if name == BACKBONE else f"P: {kind}"
