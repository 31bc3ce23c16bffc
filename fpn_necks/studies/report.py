"""The page of the study, written from the committed results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .cells import Cell, all_cells, planned_blocks, sweep_cells
from .counted_factors import PREFIX
from .detectors import DETECTORS
from .necks import NECKS, SWEEP
from .page_text import (
    CELLS_TEXT,
    HEAD,
    READING,
    RECIPE,
    SWEEP_TEXT,
    trials_text,
)
from .recipe import STUDY_SEEDS
from .sets import SETS
from .summary import (
    NONE,
    Result,
    Spread,
    metric,
    paired_difference,
    training_minutes,
)
from .training_time import STARTS

PAGE = "small_data.md"
RESULTS = Path("small_data") / "results"
TRIALS = Path("small_data") / "trials"
PICTURE = Path("small_data") / "sweep.png"
NOTES = Path("small_data") / "notes.md"
NOT_RUN = "not run"
BASELINE = "fpn"

Results = Mapping[str, Sequence[Result]]


def page(results: Results, trials: Sequence[Result], notes: str = "") -> str:
    """Return the page in Markdown.

    Args:
        results: Per cell's name, as ``results.read_results`` gives them.
        trials: Of the recipe.
        notes: What whoever made the runs has to say of them, in Markdown.
    """
    parts = [HEAD, RECIPE, trials_text(trials)]
    parts += ["## Results", state_text(results)]
    groups = [(detector, data) for data in SETS for detector in DETECTORS]
    for detector, data in groups:
        if any(results.get(Cell(detector, data, neck).name) for neck in NECKS):
            parts += _group(results, detector, data)
    parts += [READING] if results else []
    parts += ["## Fusion factors", SWEEP_TEXT, sweep_table(results)]
    if any(results.get(cell.name) for _, cell in sweep_cells()):
        parts.append(
            f"![Accuracy over α, with the statistic's as a line]({PICTURE.as_posix()})"
        )
    if notes:
        parts += ["## What the runs show", notes]
    parts += ["## All cells", CELLS_TEXT, overview_table(results)]
    parts += ["## The runs", runs_table(results)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def state_text(results: Results) -> str:
    """Say how much of the plan was run."""
    planned = {cell.name for block in planned_blocks() for cell in block}
    wanted = len(planned) * len(STUDY_SEEDS)
    done = sum(
        result["seed"] in STUDY_SEEDS
        for name in planned
        for result in results.get(name, [])
    )
    further = sum(map(len, results.values())) - done
    text = f"{done} of the {wanted} planned runs were made"
    text += f", and {further} further ones." if further else "."
    again = [
        f"`{result['cell']}` seed {result['seed']}"
        for found in results.values()
        for result in found
        if result["metrics"].get(STARTS, 1) > 1
    ]
    if again:
        text += (
            " Interrupted, and continued from the last checkpoint with other random "
            f"numbers than without the interruption: {', '.join(again)}."
        )
    return text


def _group(results: Results, detector: str, data: str) -> list[str]:
    cells = [Cell(detector, data, neck) for neck in NECKS]
    name = f"### {DETECTORS[detector]} on {SETS[data].name}"
    return [name, accuracy_table(results, cells), cost_table(results, cells)]


def accuracy_table(results: Results, cells: Sequence[Cell]) -> str:
    """Return the metrics of the cells of one detector and data set."""
    columns = cells[0].set.metrics
    first, heading = columns[0]
    baseline = next(cell for cell in cells if cell.neck == BASELINE)
    rows = []
    for cell in cells:
        found = results.get(cell.name, [])
        if not found:
            rows.append([NECKS[cell.neck], NOT_RUN, *[""] * (len(columns) + 1)])
            continue
        difference = NONE
        if cell != baseline:
            spread = paired_difference(found, results.get(baseline.name, []), first)
            difference = spread.text(100, sign=True)
        rows.append(
            [
                NECKS[cell.neck],
                str(len(found)),
                *(metric(found, name).text(100) for name, _ in columns),
                difference,
            ]
        )
    headings = [text for _, text in columns]
    return _table(["neck", "seeds", *headings, f"{heading} over FPN"], rows)


def cost_table(results: Results, cells: Sequence[Cell]) -> str:
    """Return what the cells of one detector and data set cost."""
    rows = []
    for cell in cells:
        found = results.get(cell.name, [])
        if not found:
            rows.append([NECKS[cell.neck], NOT_RUN, "", "", ""])
            continue
        counted = found[0]
        training = counted["training_parameters"]
        rows.append(
            [
                NECKS[cell.neck],
                f"{counted['parameters'] / 1e6:.2f}",
                f"{training / 1e6:.2f}" if training else NONE,
                f"{counted['multiply_adds'] / 1e9:.2f}",
                training_minutes(found),
            ]
        )
    return _table(
        [
            "neck",
            "parameters (M)",
            "further ones in training (M)",
            "multiply-adds (G)",
            "training (min)",
        ],
        rows,
    )


def sweep_table(results: Results) -> str:
    """Return the metrics over α."""
    columns = SETS["synthetic"].metrics
    rows = []
    for text, cell in sweep_cells():
        found = results.get(cell.name, [])
        values = [metric(found, name).text(100) for name, _ in columns]
        if not found:
            values = [""] * len(columns)
        name = f"{text} (FPN)" if cell.neck == BASELINE else text
        if cell.neck not in SWEEP and cell.neck != BASELINE and found:
            name = f"{text}: {_factors(found)}"
        rows.append([name, str(len(found)) if found else NOT_RUN, *values])
    return _table(["α", "seeds", *(text for _, text in columns)], rows)


def overview_table(results: Results) -> str:
    """Return one number of every cell of the grid, or that it was not run."""
    groups = [(detector, data) for data in SETS for detector in DETECTORS]
    rows = []
    for neck, label in NECKS.items():
        row = [label]
        for detector, data in groups:
            cell = Cell(detector, data, neck)
            found = results.get(cell.name, [])
            spread = metric(found, cell.set.metrics[0][0])
            row.append(f"{spread.text(100)} ({len(found)})" if found else NOT_RUN)
        rows.append(row)
    headings = [
        f"{DETECTORS[detector]}, {SETS[data].name}, {SETS[data].metrics[0][1]}"
        for detector, data in groups
    ]
    return _table(["neck", *headings], rows)


def runs_table(results: Results) -> str:
    """Return where and with what the runs were made."""
    kinds: dict[tuple[str, ...], int] = {}
    for cell in all_cells():
        for result in results.get(cell.name, []):
            versions = result["versions"]
            kind = (
                result["device"],
                *(
                    str(versions[name])
                    for name in ("torch", "mmdet", "mmcv", "mmengine", "fpn_necks")
                ),
            )
            kinds[kind] = kinds.get(kind, 0) + 1
    rows = [[str(number), *kind] for kind, number in kinds.items()]
    if not rows:
        return "None yet."
    head = ["runs", "device", "torch", "mmdet", "mmcv", "mmengine", "fpn_necks"]
    return _table(head, rows)


def _factors(found: Sequence[Result]) -> str:
    values = [
        Spread(
            tuple(
                result["metrics"][key] for result in found if key in result["metrics"]
            )
        )
        for key in sorted(key for key in found[0]["metrics"] if key.startswith(PREFIX))
    ]
    return ", ".join(f"{spread.mean:.2f}" for spread in values)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
