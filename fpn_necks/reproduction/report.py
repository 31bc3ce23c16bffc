"""Sets what was measured beside what the paper printed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..costs.tables import markdown_rows
from .compare import sections_of
from .plan import RESULT_FILE, RUN_FILE
from .tables import Metric, Row, Table


@dataclass(frozen=True)
class Measured:
    """The runs of a row that differ in nothing but the seed.

    Attributes:
        row: The paper's row.
        status: ``measured``, ``not comparable: ...``, ``not run``, ``unfinished``,
            ``quoted`` or ``not trained here``.
        results: What the runs wrote, by seed; none unless it was measured.
    """

    row: Row
    status: str
    results: tuple[dict[str, Any], ...] = ()

    def numbers(
        self, metric: Metric
    ) -> tuple[float | None, float | None, float | None]:
        """Return mean, standard deviation over the seeds, and mean minus the paper's.

        In the paper's unit, None where there is none; runs that are not comparable have
        no difference.
        """
        found = [result["metrics"].get(metric.log) for result in self.results]
        # COCO and TinyPerson write -1 where there is nothing to be found.
        values = [v * metric.scale for v in found if v is not None and v >= 0]
        mean = statistics.fmean(values) if values else None
        std = statistics.stdev(values) if len(values) > 1 else None
        paper = self.row.values.get(metric.name)
        if mean is None or paper is None or self.status != "measured":
            return mean, std, None
        return mean, std, mean - paper

    @property
    def seeds(self) -> str:
        """The seeds, such as ``0, 1``."""
        return ", ".join(str(result["seed"]) for result in self.results) or "-"


def gather(table: Table, work_dir: Path) -> list[Measured]:
    """Return what was measured of each row, an entry per configuration."""
    found = []
    for row in table.rows:
        folder = work_dir / table.id / row.slug
        files = folder.glob(f"seed*/{RESULT_FILE}")
        measured = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        groups: dict[str, list[dict[str, Any]]] = {}
        for result in sorted(measured, key=lambda result: result["seed"]):
            groups.setdefault(result["settings"], []).append(result)
        for results in groups.values():
            changed = sections_of(results[0]["deviations"])
            status = f"not comparable: {changed}" if changed else "measured"
            found.append(Measured(row, status, tuple(results)))
        if not groups:
            started = any(folder.glob(f"seed*/{RUN_FILE}"))
            status = "unfinished" if started else "not run"
            kinds = {"quoted": "quoted", "untrainable": "not trained here"}
            found.append(Measured(row, kinds.get(row.kind, status)))
    return found


def markdown_table(table: Table) -> str:
    """Return a paper's table: numbers, and how each row is trained."""
    heads = ["row", "detector", "backbone", "schedule"]
    rows = [
        [
            *(row.name, row.detector or "-", row.backbone or "-", row.schedule or "-"),
            *(_printed(row, metric) for metric in table.metrics),
            _how(row),
        ]
        for row in table.rows
    ]
    lines = [f"# {table.title}", ""]
    lines += [f"`{table.id}`, {table.dataset}; the paper's numbers.", ""]
    lines += markdown_rows([*heads, *_heads(table), "trained by"], rows)
    lines += ["", table.note] if table.note else []
    return "\n".join(lines) + "\n"


def _how(row: Row) -> str:
    if row.config is None:
        return f"quoted: {row.quoted}" if row.quoted else f"not trained: {row.reason}"
    options = "".join(f" `{key}={value}`" for key, value in row.options.items())
    first = f" after `{row.pretraining.config}`" if row.pretraining else ""
    return f"`{row.config}`{options}{first}" + (f" ({row.note})" if row.note else "")


def _heads(table: Table) -> list[str]:
    return [
        metric.name if metric.unit == "percent" else f"{metric.name} ({metric.unit})"
        for metric in table.metrics
    ]


def _printed(row: Row, metric: Metric) -> str:
    if metric.name in row.illegible:
        return "illegible"
    value = row.values.get(metric.name)
    return "-" if value is None else str(value)


def markdown_report(table: Table, found: Sequence[Measured]) -> str:
    """Return paper, ours and difference per row, then run by run, and the notes."""
    lines = [f"# {table.title}", ""]
    lines += [
        f"`{table.id}`, {table.dataset}. Cells are paper / ours / difference, in the "
        "paper's units; ours is the mean ± standard deviation over the seeds. A result "
        "that is not comparable has no difference.",
        "",
    ]
    rows = [
        [
            *(entry.row.name, entry.seeds),
            *(_cell(entry, metric) for metric in table.metrics),
            entry.status,
        ]
        for entry in found
    ]
    lines += markdown_rows(["row", "seeds", *_heads(table), "status"], rows)
    keys = ("seed", "batch_size", "learning_rate", "device", "finished")
    runs = [
        [entry.row.name, *(result[key] for key in keys), json.dumps(result["versions"])]
        for entry in found
        for result in entry.results
    ]
    if runs:
        heads = ["row", *(key.replace("_", " ") for key in keys), "versions"]
        lines += ["", "## Run by run", "", *markdown_rows(heads, runs)]
    for entry in found:
        changes = entry.results[0]["deviations"] if entry.results else []
        if changes:
            title = f"{entry.row.name} (seed {entry.seeds}) is not comparable:"
            lines += ["", title, "", *(f"- `{change}`" for change in changes)]
    words = {e.row.name: e.row.quoted or e.row.reason or e.row.note for e in found}
    said = [f"- {name}: {text}" for name, text in words.items() if text]
    return "\n".join(lines + (["", "## Notes", "", *said] if said else [])) + "\n"


def _cell(entry: Measured, metric: Metric) -> str:
    mean, std, difference = entry.numbers(metric)
    ours = "-" if mean is None else f"{mean:.2f}"
    ours += "" if std is None else f" ± {std:.2f}"
    change = "-" if difference is None else f"{difference:+.2f}"
    return f"{_printed(entry.row, metric)} / {ours} / {change}"
