"""The outcomes as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fpn_necks.costs.detector_report import claims_table, markdown_tables, short_number
from fpn_necks.costs.neck_comparison import BASE as NECK_BASE
from fpn_necks.costs.neck_comparison import COST_COLUMNS, cost_cells
from fpn_necks.costs.paper_claims import Claim

from .detector_costs import BASE, COMPARED
from .neck_costs import MODES
from .outcomes import FAILED, NOT_RUN, PASSED, STATES, UNSUPPORTED, Outcome
from .planning import CHECKS

ERRORS = {
    "error": "error",
    "output_error": "output",
    "gradient_error": "gradient",
    "loss_error": "loss",
    "second_size_error": "output at the second size",
}


def markdown(
    facts: Mapping[str, Any],
    setting: Mapping[str, Any],
    outcomes: Sequence[Outcome],
) -> str:
    """Write the whole report.

    Args:
        facts: of ``gather_facts``.
        setting: ``date``, ``command``, ``minutes``, and the fields of ``Scale`` as
            ``scale``.
        outcomes: of all checks.
    """
    parts = [
        headline(facts, setting, outcomes),
        summary_table(outcomes),
        *_list("Failed", outcomes, FAILED),
        *_list("Not possible with the libraries below", outcomes, UNSUPPORTED),
        *_list("Not run", outcomes, NOT_RUN),
        *neck_tables(outcomes, setting),
        *detector_tables(outcomes, setting),
    ]
    return "\n\n".join(parts) + "\n"


def headline(
    facts: Mapping[str, Any],
    setting: Mapping[str, Any],
    outcomes: Sequence[Outcome],
) -> str:
    """Name date, device and versions, and count the outcomes."""
    versions = ", ".join(
        f"{name} {facts[name]}"
        for name in (
            *("torch", "cuda", "cudnn", "driver", "mmcv", "mmengine"),
            *("mmdet", "fpn_necks", "python"),
        )
        if facts.get(name)
    )
    counts = ", ".join(
        f"{number} {state}"
        for state in STATES
        if (number := sum(o.state == state for o in outcomes))
    )
    where = facts["device"]
    if facts.get("capability"):
        where += f" (compute capability {facts['capability']}, "
        where += f"{facts['memory_bytes'] / 2**30:.0f} GiB)"
    ops = facts.get("mmcv_ops_cuda") or "unknown"
    return (
        f"{setting['date']}, {where}; {versions}; mmcv's operators compiled for: {ops}."
        f"\n`{setting['command']}`: {counts or 'nothing was run'}."
    )


def summary_table(outcomes: Sequence[Outcome]) -> str:
    """Write one row per check, with the largest error of all its subjects."""
    rows = [("check", "what it asserts", *STATES, "largest error", "seconds")]
    for check, meaning in CHECKS.items():
        own = [o for o in outcomes if o.check == check]
        if not own:
            continue
        counts = [str(sum(o.state == state for o in own)) for state in STATES]
        seconds = sum(o.seconds for o in own)
        rows.append((check, meaning, *counts, _worst(own), f"{seconds:.0f}"))
    return _table(rows)


def _worst(outcomes: Iterable[Outcome]) -> str:
    found = []
    for key, name in ERRORS.items():
        values = [(o.numbers[key], o.subject) for o in outcomes if o.numbers.get(key)]
        if values:
            value, subject = max(values)
            found.append(f"{name} {value:.1e} ({subject})")
    return "; ".join(found)


def _list(title: str, outcomes: Sequence[Outcome], state: str) -> list[str]:
    own = [o for o in outcomes if o.state == state]
    if not own:
        return []
    if state == NOT_RUN:  # one line per check and reason
        groups: dict[tuple[str, str], list[str]] = {}
        for o in own:
            groups.setdefault((o.check, o.detail), []).append(o.subject)
        lines = [f"- {c}, {d}: {'; '.join(s)}" for (c, d), s in groups.items()]
    else:
        lines = [f"- {o.check}, {o.subject}: {o.detail}" for o in own]
    return [f"{title}:", "\n".join(lines)]


def neck_tables(outcomes: Sequence[Outcome], setting: Mapping[str, Any]) -> list[str]:
    """Write a table of costs per precision."""
    parts = []
    for name, mode in MODES.items():
        ending = f" [{name}]"
        own = {
            o.subject.removesuffix(ending): o.numbers
            for o in outcomes
            if o.check == "neck-costs" and o.state == PASSED
            if o.subject.endswith(ending)
        }
        if own:
            parts.append(_neck_table(mode.title, own, setting))
    return parts


def _neck_table(
    title: str,
    rows: Mapping[str, Mapping[str, Any]],
    setting: Mapping[str, Any],
) -> str:
    scale = setting["scale"]
    height, width = scale["cost_size"]
    heading = (
        f"Necks alone, {title}, {height}x{width}, batch {scale['batch']}: medians of "
        f"{scale['pairs']} runs, each beside {NECK_BASE}; in brackets the 95 % "
        "interval of the ratio. Peak memory is of forward and backward, in brackets "
        "its ratio. The limit is the least "
        "time of a forward pass: multiply-adds at the speed of a large matrix product, "
        "or inputs, outputs and weights once at the speed of copying, whichever is "
        "longer, both measured in this run: "
    )
    limits = [
        statistics.median(numbers[key] for numbers in rows.values())
        for key in ("device_multiply_adds_per_second", "device_bytes_per_second")
    ]
    heading += (
        f"{short_number(limits[0] / 1e12)} T multiply-adds/s, "
        f"{short_number(limits[1] / 1e9)} GB/s."
    )
    lines = [(*COST_COLUMNS, "limit / forward")]
    for name, numbers in rows.items():
        share = numbers.get("share_of_limit")
        cells = cost_cells(name, numbers, rows.get(NECK_BASE))
        lines.append((*cells, "unknown" if share is None else f"{share:.2f}"))
    return f"{heading}\n\n{_table(lines)}"


def detector_tables(
    outcomes: Sequence[Outcome], setting: Mapping[str, Any]
) -> list[str]:
    """Write the costs of whole detectors, and the papers' claims beside them."""
    scale = setting["scale"]
    height, width = scale["cost_size"]
    parts, claims = [], []
    for detector in COMPARED:
        own = [
            o.numbers
            for o in outcomes
            if o.check == "detector-costs" and o.state == PASSED
            if o.subject.startswith(f"{detector}, ")
        ]
        if not own:
            continue
        rows = [own[0]["detectors"][0], *(numbers["detectors"][1] for numbers in own)]
        text = (
            f"{detector} with ResNet-50, {height}x{width}, batch {scale['batch']}, "
            "float32 with torch's own settings (TF32 in convolutions), random weights "
            f"and images; medians of {scale['pairs']} runs in turns with {BASE}, x: "
            "ratio to it, in brackets its 95 % interval"
        )
        parts.append(markdown_tables(dict(setting=text, detectors=rows)))
        for numbers in own:
            title = numbers["detectors"][1]["title"]
            claims += [
                (title, Claim(**entry["claim"]), entry["measured"])
                for entry in numbers["claims"]
            ]
    return [*parts, claims_table(claims)] if claims else parts


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in r)} |" for r in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])
