"""The costs of detectors as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .detector import AUXILIARY
from .detector_comparison import WHOLE
from .paper_claims import INFERENCE, Claim
from .stages import STAGES

Numbers = Mapping[str, Any]


def markdown_tables(results: Numbers) -> str:
    """Write a run's numbers as Markdown.

    Args:
        results: ``setting``, and ``detectors``: for each its ``title``, the numbers of
            ``DetectorCosts.to_json`` and ``boxes_per_image``. The first is the base.
    """
    detectors = results["detectors"]
    parts = [results["setting"]]
    for title, key, unit in (
        ("Parameters, millions", "parameters", 1e6),
        ("Multiply-adds of inference, billions", "multiply_adds", 1e9),
    ):
        parts.append(_table(title, detectors, _counts(detectors, key, unit)))
    parts.append(
        _table("Time of inference, ms", detectors, _times(detectors, "inference"))
    )
    peaks = _counts(detectors, "inference_peak_bytes", 1e6)
    parts.append(_table("Peak memory of inference, MB", detectors, peaks))
    if "train_step" in detectors[0]:
        parts.append(_training_table(detectors))
    return "\n\n".join(parts)


def claims_table(rows: Sequence[tuple[str, Claim, Numbers | None]]) -> str:
    """Write what the papers say beside what was measured.

    Args:
        rows: the detector's title, a claim on it, and the ``time_summary`` of the same
            step here; ``None`` where it was not measured.
    """
    lines = _head(
        "detector",
        "step",
        "the paper",
        "its ratio",
        "ratio here",
        "the paper's setting",
    )
    for title, claim, measured in rows:
        lines.append(
            _row(
                title,
                "inference" if claim.step == INFERENCE else "training",
                claim.text,
                f"{claim.ratio:.2f}",
                "not measured" if measured is None else _ratio(measured),
                f"{claim.conditions} ({claim.source})",
            )
        )
    return "\n".join(["The papers' own costs, as ratios of time", "", *lines])


def short_number(value: float) -> str:
    """Write three digits, or more before the point."""
    if value == 0:
        return "0"
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def _table(
    title: str, detectors: Sequence[Numbers], columns: Mapping[str, list[str]]
) -> str:
    lines = _head("detector", *columns)
    for number, detector in enumerate(detectors):
        lines.append(
            _row(detector["title"], *(cells[number] for cells in columns.values()))
        )
    return "\n".join([title, "", *lines])


def _counts(
    detectors: Sequence[Numbers], key: str, unit: float
) -> dict[str, list[str]]:
    def cell(detector: Numbers, stage: str) -> str:
        value = detector[key].get(stage)
        if value is None:
            return "none"
        base = detectors[0][key].get(stage)
        written = short_number(value / unit)
        if detector is detectors[0] or not base:
            return written
        return f"{written} (x{value / base:.2f})"

    return _columns(detectors, key, cell)


def _times(detectors: Sequence[Numbers], key: str) -> dict[str, list[str]]:
    def cell(detector: Numbers, stage: str) -> str:
        times = detector[key].get(stage)
        if times is None:
            return "none"
        written = short_number(times["milliseconds"])
        if detector is detectors[0] or times["ratio"] is None:
            return written
        return f"{written}, x{_ratio(times)}"

    return _columns(detectors, key, cell)


def _columns(
    detectors: Sequence[Numbers], key: str, cell: Callable[[Numbers, str], str]
) -> dict[str, list[str]]:
    stages = [
        stage
        for stage in (*STAGES, AUXILIARY, WHOLE)
        if any(stage in detector[key] for detector in detectors)
    ]
    return {
        stage: [cell(detector, stage) for detector in detectors] for stage in stages
    }


def _training_table(detectors: Sequence[Numbers]) -> str:
    columns: dict[str, list[str]] = {"time, ms": [], "ratio": []}
    columns |= {"peak memory, MB": [], "ratio of memory": []}
    base = detectors[0]["train_step_peak_bytes"]
    for number, detector in enumerate(detectors):
        times, peak = detector["train_step"], detector["train_step_peak_bytes"]
        columns["time, ms"].append(short_number(times["milliseconds"]))
        columns["ratio"].append(_ratio(times) if number else "1")
        columns["peak memory, MB"].append(short_number(peak / 1e6))
        columns["ratio of memory"].append(f"{peak / base:.2f}" if number else "1")
    return _table("A step of training", detectors, columns)


def _ratio(times: Numbers) -> str:
    low, high = times["ratio_interval"]
    return f"{times['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), f"|{'---|' * len(cells)}"]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
