"""The cells of the study: every detector with every neck on every data set."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mmengine.config import Config

from fpn_necks.reproduction.compare import flatten

from .detectors import DETECTORS, detector
from .necks import NECKS, SWEEP, with_neck
from .recipe import runtime, training
from .sets import SETS, StudySet, data_config

SWEEP_DETECTOR, SWEEP_SET = "retinanet", "synthetic"
# Settings that change no result. The committed results were hashed without them.
_IGNORED = (
    *("work_dir", "resume", "launcher", "log_level", "env_cfg", "visualizer"),
    *("vis_backends", "log_processor", "default_hooks.logger"),
    *("default_hooks.visualization", "default_hooks.checkpoint.max_keep_ckpts"),
)
_IGNORED_LAST = ("num_workers", "persistent_workers", "pin_memory")
# In a config that is hashed: where the data lie changes no result.
_ANY_ROOT = "data"


@dataclass(frozen=True)
class Cell:
    """A trained detector on a data set; the seeds are its repetitions.

    Attributes:
        detector: A key of `DETECTORS`.
        data: A key of `SETS`.
        neck: A key of `NECKS` or `SWEEP`.
    """

    detector: str
    data: str
    neck: str

    @property
    def name(self) -> str:
        """For command lines, folders and files."""
        return f"{self.detector}-{self.data}-{self.neck}"

    @property
    def label(self) -> str:
        """For display."""
        neck = NECKS.get(self.neck) or f"S-α FPN, α = {SWEEP[self.neck]:g}"
        return f"{DETECTORS[self.detector]}, {neck}, {self.set.name}"

    @property
    def set(self) -> StudySet:
        """The data set."""
        return SETS[self.data]

    def config(self, root: str = _ANY_ROOT, test: str | None = None) -> Config:
        """Return the whole config, which needs no other file.

        Args:
            root: Folder of the data.
            test: Split to test on; the study's own by default.
        """
        plain = detector(self.detector, self.set.num_classes, self.set.first_level)
        model, hooks = with_neck(plain, self.neck)
        content: dict[str, Any] = dict(
            model=model, **data_config(self.data, root, test), **training(), **runtime()
        )
        content["custom_hooks"] = [*content["custom_hooks"], *hooks]
        return Config(copy.deepcopy(content))

    def recipe_hash(self, test: str | None = None) -> str:
        """Return a short hash of everything that decides a result but the seed."""
        flat = {
            key: value
            for key, value in flatten(self.config(test=test)).items()
            if not any(key == n or key.startswith(f"{n}.") for n in _IGNORED)
            and key.split(".")[-1] not in _IGNORED_LAST
        }
        text = json.dumps(flat | {"world_size": 1}, sort_keys=True, default=repr)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def all_cells() -> list[Cell]:
    """Return the cells of the grid and of the sweep, in the order of the report."""
    grid = [
        Cell(detector, data, neck)
        for data in SETS
        for detector in DETECTORS
        for neck in NECKS
    ]
    return grid + [Cell(SWEEP_DETECTOR, SWEEP_SET, neck) for neck in SWEEP]


def find_cell(name: str) -> Cell:
    """Return a cell.

    Raises:
        ValueError: There is none of this name.
    """
    for cell in all_cells():
        if cell.name == name:
            return cell
    raise ValueError(f"the study has no cell '{name}'")


def sweep_cells() -> list[tuple[str, Cell]]:
    """Return the points of the sweep with their names; two are cells of the grid."""
    points = [(alpha, name) for name, alpha in SWEEP.items()] + [(1.0, "fpn")]
    ordered = [(f"{alpha:g}", name) for alpha, name in sorted(points)]
    return [
        (text, Cell(SWEEP_DETECTOR, SWEEP_SET, name))
        for text, name in [*ordered, ("statistic", "s-alpha-fpn")]
    ]


def planned_blocks() -> list[list[Cell]]:
    """Return what `run` does without further words: a table, then the sweep."""
    table = [Cell("retinanet", "bccd", neck) for neck in NECKS]
    return [table, [cell for _, cell in sweep_cells()]]


def choose_blocks(patterns: Sequence[str] | None) -> list[list[Cell]]:
    """Return the cells to run, in blocks that are run one after the other.

    Args:
        patterns: Names, or patterns such as ``retinanet-bccd-*``; ``sweep`` is the
            sweep. None is `planned_blocks`.

    Raises:
        ValueError: A pattern fits no cell, with near names.
    """
    if patterns is None:
        return planned_blocks()
    blocks = []
    taken: set[Cell] = set()
    for pattern in patterns:
        if pattern == "sweep":
            found = [cell for _, cell in sweep_cells()]
        else:
            found = [cell for cell in all_cells() if fnmatchcase(cell.name, pattern)]
        if not found:
            names = [cell.name for cell in all_cells()]
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3)
            raise ValueError(
                f"--cells has '{pattern}', which fits no cell; near ones: "
                f"{', '.join(near or names[:3])} (all: list)"
            )
        blocks.append([cell for cell in found if cell not in taken])
        taken.update(found)
    # Names one by one are one block, so that every cell gets its first seed first.
    if all(len(block) <= 1 for block in blocks):
        blocks = [[cell for block in blocks for cell in block]]
    return [block for block in blocks if block]
