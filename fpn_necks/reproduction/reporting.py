"""What was measured beside what the paper printed, from results and logs alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .comparability import kinds
from .planning import RUN_FILE
from .records import Metric, Row, Table
from .results import read_progress, read_results

NOT_RUN = "not run"


@dataclass(frozen=True)
class Measurement:
    """One metric over the seeds of a row.

    Attributes:
        values: One per seed, in the paper's unit; None where a run logged none.
        paper: The printed number; None for a dash or an illegible cell.
        comparable: Whether the difference to it means anything.
    """

    values: tuple[float | None, ...]
    paper: float | None
    comparable: bool

    @property
    def known(self) -> list[float]:
        """The values that there are."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        return statistics.fmean(self.known) if self.known else None

    @property
    def std(self) -> float | None:
        """Standard deviation of a sample; None for fewer than two seeds."""
        return statistics.stdev(self.known) if len(self.known) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's; None if they may not be compared."""
        if self.mean is None or self.paper is None or not self.comparable:
            return None
        return self.mean - self.paper


@dataclass(frozen=True)
class Group:
    """The runs of a row that differ in the seed alone.

    Attributes:
        results: As the runs wrote them.
        metrics: By name.
        deviations: Why it is not the row's own training; empty if it is.
    """

    results: tuple[dict[str, Any], ...]
    metrics: dict[str, Measurement]
    deviations: tuple[str, ...]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs."""
        return [result["seed"] for result in self.results]


@dataclass(frozen=True)
class RowReport:
    """A row of the table and what was measured of it.

    Attributes:
        row: The paper's row.
        status: ``measured``, ``not comparable: ...``, ``not run``, ``unfinished: ...``,
            ``quoted`` or ``not trained here``.
        groups: The runs by settings; several if a row was run in several ways.
    """

    row: Row
    status: str
    groups: tuple[Group, ...]


def gather(table: Table, work_dir: Path) -> list[RowReport]:
    """Read what was measured of a table.

    Args:
        table: Of a paper.
        work_dir: The folder given to ``run``.

    Returns:
        One entry per row, in the paper's order.

    Raises:
        ValueError: If a result file is broken.
    """
    return [
        _gather_row(table, row, work_dir / table.id / row.slug) for row in table.rows
    ]


def _gather_row(table: Table, row: Row, folder: Path) -> RowReport:
    by_settings: dict[str, list[dict[str, Any]]] = {}
    for result in read_results(folder):
        by_settings.setdefault(result["settings_of_all_seeds"], []).append(result)
    groups = tuple(_group(table, row, found) for found in by_settings.values())
    if groups:
        marked = [group for group in groups if group.deviations]
        status = "measured"
        if len(marked) == len(groups):
            found = [entry for group in marked for entry in group.deviations]
            status = f"not comparable: {kinds(found)}"
    elif row.kind == "quoted":
        status = "quoted"
    elif row.kind == "untrainable":
        status = "not trained here"
    else:
        status = _progress(folder)
    return RowReport(row, status, groups)


def _progress(folder: Path) -> str:
    started = sorted(file.parent for file in folder.glob(f"seed*/{RUN_FILE}"))
    if not started:
        return NOT_RUN
    at = [f"{run.name} at {read_progress(run) or 'the start'}" for run in started]
    return f"unfinished: {', '.join(at)}"


def _group(table: Table, row: Row, results: Sequence[dict[str, Any]]) -> Group:
    deviations = tuple(results[0]["deviations"])
    metrics = {
        metric.name: Measurement(
            tuple(_value(metric, result) for result in results),
            row.values.get(metric.name),
            comparable=not deviations,
        )
        for metric in table.metrics
    }
    return Group(tuple(results), metrics, deviations)


def _value(metric: Metric, result: dict[str, Any]) -> float | None:
    value = result["metrics"].get(metric.log) if metric.log else None
    # COCO and TinyPerson write -1 where there is nothing to be found.
    if not isinstance(value, int | float) or value < 0:
        return None
    return value * metric.scale


# ------------------------------------------------------------------------- the table


def markdown_table(table: Table) -> str:
    """Return a paper's table: numbers, and how each row is trained."""
    lines = [
        f"# {table.title}",
        "",
        f"`{table.id}`, {table.dataset}; the paper's numbers.",
        "",
    ]
    heads = ["row", "detector", "backbone", "schedule", *_heads(table), "trained by"]
    lines += _table(
        heads,
        [
            [
                row.name,
                row.detector or "-",
                row.backbone or "-",
                row.schedule or "-",
                *(_printed(row, metric.name) for metric in table.metrics),
                _how(row),
            ]
            for row in table.rows
        ],
    )
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines) + "\n"


def _how(row: Row) -> str:
    if row.kind == "quoted":
        return f"quoted: {row.quoted}"
    if row.kind == "untrainable":
        return f"not trained here: {row.reason}"
    options = "".join(f" `{key}={value}`" for key, value in row.options.items())
    first = f" after `{row.pretraining.config}`" if row.pretraining else ""
    note = f" ({row.note})" if row.note else ""
    return f"`{row.config}`{options}{first}{note}"


def _heads(table: Table) -> list[str]:
    return [
        metric.name if metric.unit == "percent" else f"{metric.name} ({metric.unit})"
        for metric in table.metrics
    ]


def _printed(row: Row, metric: str) -> str:
    if metric in row.illegible:
        return "illegible"
    value = row.values.get(metric)
    return "-" if value is None else str(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        safe = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
        return f"| {' | '.join(safe)} |"

    return [line(heads), f"|{'---|' * len(heads)}", *map(line, rows)]


# ------------------------------------------------------------------------ the report


def markdown_report(table: Table, reports: Sequence[RowReport]) -> str:
    """Return the report: paper, ours and difference per row, then run by run."""
    cells = "paper / ours / difference"
    lines = [
        f"# {table.title}",
        "",
        f"`{table.id}`, {table.dataset}. Cells are {cells}, in the paper's units; ours "
        "is the mean ± standard deviation over the seeds. A number that is not "
        "comparable has no difference.",
        "",
    ]
    rows = []
    for report in reports:
        for group in report.groups or (None,):
            rows.append(_report_line(table, report, group))
    lines += _table(["row", "seeds", *_heads(table), "status"], rows)
    lines += _runs(table, reports)
    lines += _reasons(reports)
    return "\n".join(lines) + "\n"


def _report_line(table: Table, report: RowReport, group: Group | None) -> list[str]:
    row = report.row
    if group is None:
        none = "-" if row.kind != "trainable" else NOT_RUN
        if report.status.startswith("unfinished"):
            none = "unfinished"
        cells = [f"{_printed(row, m.name)} / {none} / -" for m in table.metrics]
        return [row.name, "-", *cells, report.status]
    cells = [
        f"{_printed(row, name)} / {_ours(found)} / {_signed(found.difference)}"
        for name, found in group.metrics.items()
    ]
    status = "measured"
    if group.deviations:
        status = f"**not comparable**: {kinds(list(group.deviations))}"
    return [row.name, ", ".join(map(str, group.seeds)), *cells, status]


def _ours(found: Measurement) -> str:
    if found.mean is None:
        return "-"
    spread = "" if found.std is None else f" ± {found.std:.2f}"
    return f"{found.mean:.2f}{spread}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _runs(table: Table, reports: Sequence[RowReport]) -> list[str]:
    rows = []
    for report in reports:
        for group in report.groups:
            for index, result in enumerate(group.results):
                values = [group.metrics[m.name].values[index] for m in table.metrics]
                rows.append(
                    [
                        report.row.name,
                        result["seed"],
                        *("-" if value is None else f"{value:.2f}" for value in values),
                        _batch(result),
                        _rate(result),
                        f"{result['wall_time_s'] / 3600:.2f} h",
                        f"{result['world_size']} x {result['device']}",
                        result["finished"],
                    ]
                )
    if not rows:
        return []
    heads = ["row", "seed", *_heads(table), "batch", "learning rate"]
    heads += ["time", "device", "finished"]
    return ["", "## Run by run", "", *_table(heads, rows), "", *_versions(reports)]


def _batch(result: dict[str, Any]) -> str:
    base = result["base_batch_size"]
    meant = "" if base in (None, result["batch_size"]) else f" (the config: {base})"
    return f"{result['batch_size']}{meant}"


def _rate(result: dict[str, Any]) -> str:
    rate = result["learning_rate"]
    if rate is None:
        return "-"
    if not result["learning_rate_scaled"]:
        return f"{rate:g} (not scaled)"
    if result["batch_size"] == result["base_batch_size"]:
        return f"{rate:g}"
    return f"{rate:g} (scaled from {result['config_learning_rate']:g})"


def _versions(reports: Sequence[RowReport]) -> list[str]:
    found = {
        ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        for report in reports
        for group in report.groups
        for result in group.results
    }
    return [f"Versions: {'; or '.join(sorted(found))}."]


def _reasons(reports: Sequence[RowReport]) -> list[str]:
    lines = []
    # A user's options are usually the same for many rows.
    marked: dict[tuple[str, ...], list[str]] = {}
    for report in reports:
        for group in report.groups:
            if group.deviations:
                seeds = ", ".join(map(str, group.seeds))
                where = f"{report.row.name} (seed {seeds})"
                marked.setdefault(group.deviations, []).append(where)
    if marked:
        lines += ["", "## Not comparable"]
        for found, where in marked.items():
            lines += ["", f"{'; '.join(where)}:", "", *(f"- `{one}`" for one in found)]
    for kind, head in (
        ("quoted", "Quoted in the paper from elsewhere"),
        ("untrainable", "Not trained here"),
    ):
        rows = [report.row for report in reports if report.row.kind == kind]
        if rows:
            lines += ["", f"## {head}", ""]
            lines += [f"- {row.name}: {row.quoted or row.reason}" for row in rows]
    notes = [report.row for report in reports if report.row.note]
    if notes:
        lines += ["", "## Notes", "", *(f"- {row.name}: {row.note}" for row in notes)]
    return lines


def json_report(table: Table, reports: Sequence[RowReport]) -> dict[str, Any]:
    """Return the same as plain data."""
    return dict(
        table=table.id,
        title=table.title,
        dataset=table.dataset,
        metrics=[
            dict(name=m.name, unit=m.unit, log=m.log, better=m.better)
            for m in table.metrics
        ],
        rows=[
            dict(
                row=report.row.name,
                slug=report.row.slug,
                kind=report.row.kind,
                status=report.status,
                quoted=report.row.quoted,
                reason=report.row.reason,
                note=report.row.note,
                paper=dict(report.row.values),
                illegible=list(report.row.illegible),
                measured=[_group_as_json(group) for group in report.groups],
            )
            for report in reports
        ],
    )


def _group_as_json(group: Group) -> dict[str, Any]:
    return dict(
        seeds=group.seeds,
        comparable=not group.deviations,
        deviations=list(group.deviations),
        metrics={
            name: dict(
                values=list(found.values),
                mean=found.mean,
                std=found.std,
                difference=found.difference,
            )
            for name, found in group.metrics.items()
        },
        runs=list(group.results),
    )
