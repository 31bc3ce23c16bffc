"""From cells and seeds to runs, in the form that ``fpn_necks.reproduction`` runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fpn_necks.costs import count_costs
from fpn_necks.reproduction.run import Run

from .cells import Cell
from .recipe import BATCH_SIZE, IMAGES_SEEN, ITERATIONS
from .sets import fingerprint, image_size

PADDING = 32  # of batches, see the recipe's data_preprocessor


def plan_run(
    cell: Cell, seed: int, root: Path, work_dir: Path, test: str | None = None
) -> Run:
    """Return a run.

    Args:
        cell: What is trained.
        seed: At least 0.
        root: Folder of the cell's data set.
        work_dir: Folder of all runs.
        test: Split to test on in the place of the study's, for trials.

    Raises:
        ValueError: The data set is not there or not the right one.
    """
    config = cell.config(str(root.resolve()), test)
    folder = work_dir / ("trials" if test else "") / cell.name / f"seed{seed}"
    config.work_dir = str(folder)
    config.randomness = dict(seed=seed)
    size = tuple(-(-side // PADDING) * PADDING for side in image_size(cell.data))
    cost = count_costs(config, [size])
    recipe = cell.recipe_hash(test)
    facts = dict(
        cell=cell.name,
        detector=cell.detector,
        data=cell.data,
        neck=cell.neck,
        seed=seed,
        tested_on=test or cell.set.test,
        # Both names: the runner's, for the check of a folder, and the study's.
        settings=recipe,
        recipe=recipe,
        annotations=fingerprint(cell.data, root, test),
        iterations_planned=ITERATIONS,
        batch_size=BATCH_SIZE,
        images_seen=IMAGES_SEEN,
        parameters=cost.parameters,
        training_parameters=cost.training_parameters,
        multiply_adds=cost.multiply_adds[size],
        counted_at=list(size),
        evaluate=True,
        world_size=1,
    )
    label = f"{cell.name}{' (trial)' if test else ''}"
    return Run(label, folder, config, json.loads(json.dumps(facts)))


def plan_blocks(
    blocks: Sequence[Sequence[Cell]],
    seeds: Sequence[int],
    roots: Mapping[str, Path],
    work_dir: Path,
) -> list[Run]:
    """Return the runs: block by block, in a block every cell with the first seed first.

    Args:
        blocks: Of `choose_blocks`.
        seeds: Of every cell.
        roots: Folder of each data set that the cells need.
        work_dir: Folder of all runs.
    """
    return [
        plan_run(cell, seed, roots[cell.data], work_dir)
        for block in blocks
        for seed in seeds
        for cell in block
    ]
