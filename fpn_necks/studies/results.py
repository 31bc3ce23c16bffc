"""The results of the study: one small json per run, collected in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fpn_necks.io import write_json
from fpn_necks.reproduction.run import RESULT_FILE

from .cells import Cell, all_cells, find_cell

Result = dict[str, Any]

NEEDED = ("cell", "seed", "recipe", "metrics", "parameters", "multiply_adds")
NEEDED += ("annotations", "versions", "device", "tested_on", "finished")


def file_name(cell: str, seed: int) -> str:
    """Return the name of a result's file."""
    return f"{cell}_seed{seed}.json"


def collect(work_dir: Path, folder: Path, trials: Path) -> list[Path]:
    """Copy the finished runs of a work directory to the folders of results.

    Args:
        work_dir: As given to ``run`` and ``trial``.
        folder: Gets a file per run.
        trials: Gets a file per trial, named by its recipe: trials of several recipes
            are what tuning is.

    Returns:
        The files that were not there before.

    Raises:
        ValueError: A result has another recipe than the study has, or another result
            of the same cell and seed is in the folder. Nothing is copied then.
    """
    new: dict[Path, Result] = {}
    for cell in all_cells():
        for file in sorted((work_dir / cell.name).glob(f"seed*/{RESULT_FILE}")):
            result = read_result(file)
            check_recipe(result, file)
            target = folder / file_name(result["cell"], result["seed"])
            if not target.is_file():
                new[target] = result
            elif read_result(target) != result:
                raise ValueError(
                    f"{target} and {file} are two results of one run; remove one of "
                    "them"
                )
    for file in sorted(work_dir.glob(f"trials/*/seed*/{RESULT_FILE}")):
        result = read_result(file)
        target = trials / f"{result['cell']}_{result['recipe']}.json"
        if not target.is_file():
            new[target] = result
    for target, result in new.items():
        write_json(target, result, indent=1)
    return list(new)


def read_trials(folder: Path) -> list[Result]:
    """Read the results of the trials, in the order in which they were finished."""
    trials = [read_result(file) for file in sorted(folder.glob("*.json"))]
    return sorted(trials, key=lambda result: result["finished"])


def read_results(folder: Path) -> dict[str, list[Result]]:
    """Read all results of a folder.

    Returns:
        The results per cell's name, in the order of their seeds; nothing for a cell
        without any.

    Raises:
        ValueError: A file is no result, has another recipe than the study, or saw
            another data set than the others.
    """
    found: dict[str, list[Result]] = {}
    annotations: dict[str, tuple[Any, Path]] = {}
    for file in sorted(folder.glob("*.json")):
        result = read_result(file)
        cell = check_recipe(result, file)
        if file.name != file_name(result["cell"], result["seed"]):
            raise ValueError(
                f"{file} holds {file_name(result['cell'], result['seed'])}"
            )
        seen, first = annotations.setdefault(cell.data, (result["annotations"], file))
        if seen != result["annotations"]:
            raise ValueError(
                f"{file} and {first} were made with different annotations of "
                f"{cell.set.name}"
            )
        found.setdefault(cell.name, []).append(result)
    for results in found.values():
        results.sort(key=lambda result: result["seed"])
    return found


def read_result(file: Path) -> Result:
    """Read one result.

    Raises:
        ValueError: The file is none.
    """
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no json: {error}") from None
    if not isinstance(result, dict):
        raise ValueError(f"{file} is no result of a run")
    missing = [key for key in NEEDED if key not in result]
    if missing:
        raise ValueError(f"{file} is no result of the study: no {', '.join(missing)}")
    return result


def check_recipe(result: Result, file: Path) -> Cell:
    """Return a result's cell.

    Raises:
        ValueError: There is no such cell, or its recipe is another one now.
    """
    try:
        cell = find_cell(result["cell"])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    recipe = cell.recipe_hash()
    if result["recipe"] != recipe:
        raise ValueError(
            f"{file} was made with recipe {result['recipe']}, the study's is {recipe}; "
            "results of two recipes are not mixed"
        )
    return cell
