"""Whether the files that a run reads are there, before it starts."""

from __future__ import annotations

from pathlib import Path

from .comparability import evaluated_split
from .configs import annotation_file, datasets, evaluators
from .planning import Run


def missing_data(run: Run) -> str | None:
    """Say which file of the data is missing, and what to set; None if none is."""
    loaders = ["train_dataloader"]
    split = evaluated_split(run.config) if run.facts["evaluate"] else None
    if split:
        loaders.append(f"{split}_dataloader")
    for loader in loaders:
        for key, dataset in datasets(run.config, loader):
            path = annotation_file(dataset)
            if path is not None and not path.exists():
                return (
                    f"{path} is missing; put the data set there or name its folder "
                    f"with --data-root (in the config: {key}.data_root)"
                )
    if split:
        for key, evaluator in evaluators(run.config, f"{split}_evaluator"):
            file = evaluator.get("ann_file")
            if file and not Path(file).is_file():
                return f"{file} is missing; set it with --cfg-options {key}.ann_file="
    return None
