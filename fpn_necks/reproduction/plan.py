"""Plans the trainings of a table's rows: a config, a folder and facts for each seed."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmdet.registry import DATASETS
from mmengine.config import Config

from ..config_tools import load_config, merge_options
from .compare import (
    IMAGES,
    annotation_file,
    base_batch_size,
    count_images,
    datasets,
    deviations,
    differences,
    evaluated_split,
    evaluators,
    settings,
)
from .tables import Row, Table

CONFIG_FILE, RUN_FILE, RESULT_FILE = "config.py", "run.json", "result.json"


@dataclass(frozen=True)
class Run:
    """A training of a row with one seed, or one that rows start from.

    Args:
        label: For the user.
        folder: Where everything of it is written.
        config: The whole config.
        facts: What ``run.json`` and ``result.json`` say of it; json values. Needed are
            ``seed``, ``world_size``, ``evaluate`` and ``settings``, a hash that is the
            same where nothing but the seed differs.
    """

    label: str
    folder: Path
    config: Config
    facts: dict[str, Any]

    def state(self) -> Literal["finished", "interrupted", "new"]:
        """Return how far the run is, from its folder."""
        if (self.folder / RESULT_FILE).is_file():
            return "finished"
        return "interrupted" if (self.folder / RUN_FILE).is_file() else "new"

    def check_folder(self) -> None:
        """Raise a ``ValueError`` if the folder holds a run of another configuration."""
        file = self.folder / RUN_FILE
        if not file.is_file():
            return
        before = json.loads(file.read_text(encoding="utf-8"))
        if before["settings"] == self.facts["settings"]:
            return
        old = settings(Config.fromfile(self.folder / CONFIG_FILE), before["world_size"])
        new = settings(self.config, self.facts["world_size"])
        parts = [f"{key} {a} -> {b}" for key, a, b in differences(old, new)]
        more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
        raise ValueError(
            f"{self.label}: {self.folder} holds a run of another configuration "
            f"({'; '.join(parts[:3])}{more}); choose another --work-dir or remove that "
            "folder"
        )

    def missing_data(self) -> str | None:
        """Name the first missing file of the data, and what to set."""
        split = evaluated_split(self.config) if self.facts["evaluate"] else "train"
        for loader in dict.fromkeys(("train_dataloader", f"{split}_dataloader")):
            for key, dataset in datasets(self.config, loader):
                path = annotation_file(dataset)
                if path is not None and not path.exists():
                    return (
                        f"{path} is missing; put the data set there or name its folder "
                        f"with --data-root (in the config: {key}.data_root)"
                    )
        for key, metric in evaluators(self.config, f"{split}_evaluator"):
            file = metric.get("ann_file")
            if file and not Path(file).is_file():
                return f"{file} is missing; set it with --cfg-options {key}.ann_file="
        return None

    def training_images(self) -> int | None:
        """Return how many images the training sees; None if the data cannot tell."""
        loop, dataset = self.config.train_cfg, self.config.train_dataloader.dataset
        if "max_iters" in loop:
            return loop.max_iters * self.facts["batch_size"]
        number = loop.max_epochs
        while dataset.get("dataset"):
            number, dataset = number * dataset.get("times", 1), dataset.dataset
        file = annotation_file(dataset)
        there = file is not None and file.is_file()
        if there and (dataset.get("tiles") or dataset.get("indices") is not None):
            return number * len(DATASETS.build(dataset))
        if file is None or dataset.get("tiles"):
            return None
        images = count_images(file) if there else IMAGES.get(file.name)
        return None if images is None else number * images


def choose_rows(table: Table, names: Sequence[str] | None) -> list[Row]:
    """Return the rows of these names or slugs, or all that can be trained."""
    if names is None:
        names = [row.name for row in table.rows if row.kind == "trainable"]
        if not names:
            raise ValueError(f"table '{table.id}' has no row that can be trained here")
    chosen = {}
    for name in names:
        row = table.find_row(name)
        if row.kind != "trainable":
            what = "quoted" if row.kind == "quoted" else "not trained here"
            raise ValueError(f"row '{row.name}' is {what}: {row.quoted or row.reason}")
        chosen[row.slug] = row
    return list(chosen.values())


def plan_runs(
    table: Table,
    rows: Sequence[Row],
    work_dir: Path,
    seeds: Sequence[int] = (0,),
    options: Mapping[str, Any] | None = None,
    pretraining_options: Mapping[str, Any] | None = None,
    data_root: str | None = None,
    world_size: int = 1,
) -> list[Run]:
    """Return the runs of rows, seed by seed, each behind those it starts from.

    Args:
        table: Where the rows are from.
        rows: Trainable ones.
        work_dir: Folder of all runs.
        seeds: A run each.
        options: The user's ``--cfg-options``, for all rows.
        pretraining_options: The same for the runs that rows start from.
        data_root: Folder of the data in the place of the configs' own.
        world_size: Number of processes.

    Raises:
        ValueError: An option does not fit a row's config.
    """
    runs: dict[Path, Run] = {}  # rows may share a pretraining
    for seed in seeds:
        for row in rows:
            facts = dict(seed=seed, world_size=world_size)
            own, first = dict(row.options), row.pretraining
            before: list[str] = []
            try:
                if first is not None:
                    text = json.dumps([first.config, dict(first.options)])
                    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
                    name = f"{first.config.rsplit('/', 1)[-1]}-{digest}"
                    run = _plan(
                        f"pretraining of '{row.name}'",
                        work_dir / "pretraining" / name / f"seed{seed}",
                        (first.config, first.options, pretraining_options or {}, None),
                        facts | dict(evaluate=False),
                    )
                    runs.setdefault(run.folder, run)
                    own["load_from"] = str((run.folder / _end(run.config)).resolve())
                    before = [f"pretraining: {x}" for x in run.facts["deviations"]]
                run = _plan(
                    row.name,
                    work_dir / table.id / row.slug / f"seed{seed}",
                    (row.config, own, options or {}, data_root),
                    facts | dict(evaluate=True, table=table.id, row=row.name),
                )
            except ValueError as error:
                raise ValueError(f"row '{row.name}': {error}") from None
            run.facts["deviations"] += before
            runs[run.folder] = run
    return list(runs.values())


def _end(config: Config) -> str:
    """Return the name of a training's last checkpoint."""
    loop = config.train_cfg
    if "max_iters" in loop:
        return f"iter_{loop.max_iters}.pth"
    return f"epoch_{loop.max_epochs}.pth"


@functools.lru_cache(maxsize=64)  # rows and seeds share configs
def _own_config(name: str) -> Config:
    config = load_config(name)
    # mmdet's own configs need it too: to resume under torch's safe loading.
    imports = config.get("custom_imports") or dict(imports=[])
    modules = dict.fromkeys([*imports["imports"], "fpn_necks"])
    config.custom_imports = dict(imports=[*modules], allow_failed_imports=False)
    return config


def _plan(label: str, folder: Path, sources: tuple, facts: dict[str, Any]) -> Run:
    name, own_options, options, data_root = sources
    own = copy.deepcopy(_own_config(name))
    merge_options(own, own_options)
    if base_batch_size(own):
        own.auto_scale_lr.enable = True
    config = copy.deepcopy(own)
    if data_root is not None:
        set_data_root(config, data_root)
    merge_options(config, options)
    config.work_dir = str(folder)
    config.randomness = dict(config.get("randomness") or {}, seed=facts["seed"])
    batch = config.train_dataloader.batch_size * facts["world_size"]
    rate, base = config.optim_wrapper.optimizer.lr, base_batch_size(config)
    if base and config.auto_scale_lr.get("enable"):
        rate *= batch / base
    flat = settings(config, facts["world_size"])
    content = json.dumps(flat, sort_keys=True, default=repr)
    given = dict(options) | ({"data_root": data_root} if data_root else {})
    facts |= dict(
        config=name,
        options=dict(own_options),
        overrides=json.loads(json.dumps(given, default=repr)),
        settings=hashlib.sha256(content.encode()).hexdigest()[:16],
        batch_size=batch,
        learning_rate=rate,
        deviations=deviations(own, config, facts["world_size"], facts["evaluate"]),
    )
    return Run(label, folder, config, facts)


def set_data_root(config: Config, root: str) -> None:
    """Read data sets, and their evaluators' annotations, from another folder."""
    old_roots = set()
    for split in ("train", "val", "test"):
        for _, dataset in datasets(config, f"{split}_dataloader"):
            if dataset.get("data_root"):
                old_roots.add(dataset.data_root)
                dataset.data_root = root.rstrip("/") + "/"
        for _, metric in evaluators(config, f"{split}_evaluator"):
            file = metric.get("ann_file") or ""
            for old in old_roots:
                if Path(file).is_relative_to(old):
                    metric.ann_file = str(Path(root) / Path(file).relative_to(old))
