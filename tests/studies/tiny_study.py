"""The study made small: a set like BCCD with a few drawn images, and two steps."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fpn_necks.studies import planning, recipe, sets
from fpn_necks.studies.cells import Cell
from fpn_necks.studies.results import file_name
from fpn_necks.studies.training_time import PROCESSOR_SECONDS, STARTS
from tests.reproduction.tiny_table import in_this_process
from tests.tiny_sets import write_coco_set

__all__ = ["in_this_process"]

STEPS = 2


def write_tiny_bccd(folder: Path) -> Path:
    """Write three splits with BCCD's layout and classes; return the folder."""
    for seed, split in enumerate(("train", "val", "test")):
        made = write_coco_set(folder / "made", num_images=4, seed=seed)
        content = json.loads(made.read_text())
        content["categories"] = [
            dict(id=number, name=name)
            for number, name in enumerate(sets.BCCD_CLASSES, 1)
        ]
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))
        shutil.move(folder / "made" / "images", folder / split)
    return folder


def make_recipe_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs take two steps, save each, and draw few images."""
    for module in (recipe, planning):
        monkeypatch.setattr(module, "ITERATIONS", STEPS)
    runtime = recipe.runtime

    def saving_each_step() -> dict:
        found = runtime()
        found["default_hooks"]["checkpoint"]["interval"] = 1
        return found

    monkeypatch.setattr("fpn_necks.studies.cells.runtime", saving_each_step)
    few = dict(sets.SYNTHETIC_SET, num_train=2, num_val=1)
    monkeypatch.setattr(sets, "SYNTHETIC_SET", few)


def hand_made(cell: Cell, seed: int, **metrics: float) -> dict[str, Any]:
    """Return a result as a run writes it, with metrics by heading, in percent."""
    names = {heading: name for name, heading in cell.set.metrics}
    return dict(
        cell=cell.name,
        seed=seed,
        recipe=cell.recipe_hash(),
        tested_on=cell.set.test,
        annotations=dict(train="a", test="b"),
        parameters=3_300_000,
        training_parameters=500_000 if cell.neck == "augfpn" else 0,
        multiply_adds=1_200_000_000,
        metrics={names[key.replace("_", " ")]: v / 100 for key, v in metrics.items()}
        | {PROCESSOR_SECONDS: 240.0 + 60 * seed, STARTS: 1},
        versions=dict.fromkeys(
            ("torch", "mmdet", "mmcv", "mmengine", "fpn_necks"), "1.2"
        ),
        device="cpu",
        finished=f"2026-01-0{seed + 1}T00:00:00+00:00",
    )


def write_results(folder: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write results under the names of collected ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        name = file_name(result["cell"], result["seed"])
        (folder / name).write_text(json.dumps(result))
