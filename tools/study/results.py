"""The study's results: one JSON file per run, and the rates that they choose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipe import METRICS, Entry, Run, recipe_hash

Results = Mapping[str, dict[str, Any]]  # by the name of the run


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results of today's recipe; those of another one are left out."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text())
        keys = ("data", "neck", "rate", "seed", "trial")
        run = Run(**{key: result[key] for key in keys})
        if result["recipe"] == recipe_hash(run):
            found[run.name] = result
    return found


def write_result(folder: Path, result: Mapping[str, Any], name: str) -> None:
    """Write a run's result, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.part"
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(folder / f"{name}.json")


def chosen_rate(results: Results, entry: Entry) -> float | None:
    """Return the learning rate of an entry; None before all trials are done.

    A trial that diverged chooses nothing; None also if all of them did.
    """
    trials = [results.get(trial.name) for trial in entry.trials()]
    if None in trials:
        return None
    metric = METRICS[entry.data]
    scores = {t["rate"]: t["metrics"][metric] for t in trials if t["metrics"]}
    return max(scores, key=scores.__getitem__) if scores else None


def result_of(results: Results, entry: Entry) -> dict[str, Any] | None:
    """Return the result of an entry, None if it was not run yet."""
    rate = chosen_rate(results, entry)
    return None if rate is None else results.get(entry.run(rate).name)
