"""Costs as Markdown and as comma-separated values."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .stages import STAGES
from .timing import PairedTimes

WHOLE = "whole"


@dataclass(frozen=True)
class Cost:
    """What a neck or a detector costs.

    Args:
        title: In the tables.
        parameters: Per part.
        multiply_adds: Per part; None where an operator cannot be counted.
        times: Per step, each run beside one of the first entry's.
        memory: Peak bytes per step.
        claims: What the papers say of the method's time: step, numbers and ratio.
    """

    title: str
    parameters: Mapping[str, int]
    multiply_adds: Mapping[str, int | None]
    times: Mapping[str, PairedTimes]
    memory: Mapping[str, int]
    claims: Sequence[tuple[str, str, float]] = ()


def markdown_rows(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the lines of a Markdown table."""

    def line(cells: Sequence[Any]) -> str:
        safe = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
        return f"| {' | '.join(safe)} |"

    return [line(heads), f"|{'---|' * len(heads)}", *map(line, rows)]


def markdown_costs(costs: Sequence[Cost]) -> str:
    """Return Markdown tables: one of necks, one per quantity of detectors."""
    quantities = {
        "parameters, M": ("parameters", 1e6),
        "multiply-adds, G": ("multiply_adds", 1e9),
        "time, ms": ("times", 1e-3),
        "peak memory, MB": ("memory", 1e6),
    }
    titles = ["", *(cost.title for cost in costs)]
    groups: list[list[list[str]]] = []  # a group of columns per quantity
    for quantity, (name, unit) in quantities.items():
        values = [getattr(cost, name) for cost in costs]
        parts = dict.fromkeys(part for entry in values for part in entry)
        order = [stage for stage in STAGES if stage in parts]
        order += [part for part in parts if part not in (*STAGES, WHOLE)]
        order += [WHOLE] if WHOLE in parts else []
        groups.append(
            [
                [quantity if part == WHOLE else f"{quantity}: {part}"]
                + [_cell(v.get(part), values[0].get(part), unit) for v in values]
                for part in order
            ]
        )
    if all(len(group) <= 2 for group in groups):
        groups = [[column for group in groups for column in group]]
    tables = [[*zip(titles, *group, strict=True)] for group in groups]
    claims = [
        (cost.title, step, text, f"{ratio:.2f}", _ratio(cost.times.get(step)))
        for cost in costs
        for step, text, ratio in cost.claims
    ]
    if claims:
        heads = ("", "step", "the paper", "its time ratio", "ratio here")
        tables.append([heads, *claims])
    return "\n\n".join("\n".join(markdown_rows(t[0], t[1:])) for t in tables)


def _cell(value: Any, base: Any, unit: float) -> str:
    if value is None:
        return "-"
    if isinstance(value, PairedTimes):
        written = _short(statistics.median(value.other) / unit)
        same = value.other == value.base or min(value.base) <= 0
        return written if same else f"{written}, x{_ratio(value)}"
    written = _short(value / unit)
    return f"{written} (x{value / base:.2f})" if base and base != value else written


def _ratio(times: PairedTimes | None) -> str:
    if times is None or min(times.base) <= 0:
        return "-"
    low, high = times.interval
    return f"{times.median_ratio:.2f} ({low:.2f} to {high:.2f})"


def _short(value: float) -> str:
    """Write three digits, or more before the point."""
    return f"{value:.0f}" if value >= 99.95 or value == 0 else f"{value:#.3g}"


def csv_costs(costs: Sequence[Cost]) -> str:
    """Return the numbers as comma-separated values, in units without prefix."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("title", "quantity", "part", "value", "ratio", "low", "high"))
    for cost in costs:
        for quantity in ("parameters", "multiply_adds", "memory"):
            for part, value in getattr(cost, quantity).items():
                writer.writerow((cost.title, quantity, part, value, "", "", ""))
        for part, times in cost.times.items():
            known = min(times.base) > 0
            ratio = (times.median_ratio, *times.interval) if known else ("", "", "")
            seconds = statistics.median(times.other)
            writer.writerow((cost.title, "seconds", part, seconds, *ratio))
    return text.getvalue()
