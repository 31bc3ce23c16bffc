"""Costs as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .stages import STAGES
from .timing import PairedTimes

WHOLE = "whole"
QUANTITIES = {
    "parameters, M": ("parameters", 1e6),
    "multiply-adds, G": ("multiply_adds", 1e9),
    "time, ms": ("times", 1e-3),
    "peak memory, MB": ("memory", 1e6),
}


@dataclass(frozen=True)
class Cost:
    """What a neck or a detector costs.

    Args:
        title: In the tables.
        parameters: Per part.
        multiply_adds: Per part.
        times: Per step, each run beside one of the first entry's.
        memory: Peak bytes per step.
    """

    title: str
    parameters: Mapping[str, int]
    multiply_adds: Mapping[str, int]
    times: Mapping[str, PairedTimes]
    memory: Mapping[str, int]


def markdown_rows(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the lines of a Markdown table."""

    def line(cells: Sequence[Any]) -> str:
        safe = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
        return f"| {' | '.join(safe)} |"

    return [line(heads), f"|{'---|' * len(heads)}", *map(line, rows)]


def markdown_costs(costs: Sequence[Cost]) -> str:
    """Return Markdown tables: one of necks, one per quantity of detectors."""
    groups: list[list[list[str]]] = []  # a group of columns per quantity
    for quantity, (name, unit) in QUANTITIES.items():
        values = [getattr(cost, name) for cost in costs]
        parts = dict.fromkeys(part for entry in values for part in entry)
        groups.append(
            [
                [quantity if part == WHOLE else f"{quantity}: {part}"]
                + [_cell(v.get(part), values[0].get(part), unit) for v in values]
                for part in sorted(parts, key=[*STAGES, *parts].index)
            ]
        )
    if all(len(group) <= 2 for group in groups):
        groups = [[column for group in groups for column in group]]
    titles = ["", *(cost.title for cost in costs)]
    tables = ([*zip(titles, *group, strict=True)] for group in groups)
    return "\n\n".join("\n".join(markdown_rows(t[0], t[1:])) for t in tables)


def _cell(value: Any, base: Any, unit: float) -> str:
    if value is None:
        return "-"
    if isinstance(value, PairedTimes):
        written = _short(statistics.median(value.other) / unit)
        if value.other == value.base or min(value.base) <= 0:
            return written
        low, high = value.interval
        return f"{written}, x{value.median_ratio:.2f} ({low:.2f} to {high:.2f})"
    written = _short(value / unit)
    return f"{written} (x{value / base:.2f})" if base and base != value else written


def _short(value: float) -> str:
    """Write three digits, or more before the point."""
    return f"{value:.0f}" if value >= 99.95 or value == 0 else f"{value:#.3g}"
