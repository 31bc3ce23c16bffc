"""What `run` is to do: one run per row and seed, each with its config and folder."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

from .comparability import batch_sizes, deviations, evaluated_split
from .configs import (
    Flat,
    differences,
    flatten,
    load_config,
    merge_options,
    set_data_root,
)
from .records import Row, Table, slug_of

LAUNCHERS = ("none", "pytorch", "slurm")
CONFIG_FILE = "config.py"
RUN_FILE = "run.json"
RESULT_FILE = "result.json"

# Settings that may change between an interrupted run and its continuation.
_CHANGEABLE = (
    "work_dir",
    "resume",
    "launcher",
    "log_level",
    "env_cfg",
    "visualizer",
    "vis_backends",
    "log_processor",
    "default_hooks.logger",
    "default_hooks.visualization",
    "default_hooks.checkpoint.max_keep_ckpts",
)
_CHANGEABLE_LAST = ("num_workers", "persistent_workers", "pin_memory")


@dataclass(frozen=True)
class Launch:
    """How the processes of a run are started.

    Args:
        launcher: ``none`` (one process), ``pytorch`` (torch.distributed.run) or
            ``slurm`` (srun).
        gpus: Processes per node, one per GPU.
        nodes: Number of nodes.
        srun_args: Further arguments of srun, such as ``-p partition``.

    Raises:
        ValueError: If a number is below 1, or there is no launcher for several.
    """

    launcher: Literal["none", "pytorch", "slurm"] = "none"
    gpus: int = 1
    nodes: int = 1
    srun_args: str = ""

    def __post_init__(self) -> None:
        if self.launcher not in LAUNCHERS:
            raise ValueError(
                f"launcher must be one of {', '.join(LAUNCHERS)}, got {self.launcher!r}"
            )
        for name in ("gpus", "nodes"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
            if value > 1 and self.launcher == "none":
                raise ValueError(
                    f"{name}={value} needs a launcher: pytorch or slurm, not none"
                )
        if self.launcher == "pytorch" and self.nodes > 1:
            missing = [n for n in ("NODE_RANK", "MASTER_ADDR") if n not in os.environ]
            if missing:
                raise ValueError(
                    f"nodes={self.nodes} with launcher pytorch needs the environment "
                    f"variables NODE_RANK and MASTER_ADDR on every node; not set: "
                    f"{', '.join(missing)}"
                )

    @property
    def world_size(self) -> int:
        """Number of processes of all nodes."""
        return self.gpus * self.nodes

    @property
    def is_main_node(self) -> bool:
        """Whether this node writes the files of a run."""
        several = self.launcher == "pytorch" and self.nodes > 1
        return not several or os.environ["NODE_RANK"] == "0"

    def command(self, config: Path, name: str) -> list[str]:
        """Return the command that trains and tests a config.

        Args:
            config: File of the resolved config.
            name: What slurm shows the job as.
        """
        worker = ["-m", "fpn_necks.reproduction.worker", str(config)]
        if self.launcher == "none":
            return [sys.executable, *worker]
        worker += ["--launcher", self.launcher]
        if self.launcher == "pytorch":
            place = ["--standalone"]  # finds a free port
            if self.nodes > 1:
                place = [
                    f"--nnodes={self.nodes}",
                    f"--node_rank={os.environ['NODE_RANK']}",
                    f"--master_addr={os.environ['MASTER_ADDR']}",
                    f"--master_port={os.environ.get('PORT', '29500')}",
                ]
            run = [sys.executable, "-m", "torch.distributed.run", *place]
            return [*run, f"--nproc_per_node={self.gpus}", *worker]
        return [
            "srun",
            f"--job-name={name}",
            f"--nodes={self.nodes}",
            f"--gres=gpu:{self.gpus}",
            f"--ntasks={self.world_size}",
            f"--ntasks-per-node={self.gpus}",
            "--cpus-per-task=5",  # as mmdet's slurm_train.sh; srun_args may differ
            "--kill-on-bad-exit=1",
            *shlex.split(self.srun_args),
            sys.executable,
            "-u",
            *worker,
        ]


@dataclass(frozen=True)
class Request:
    """What the user asked for beside the table.

    Args:
        work_dir: Folder of all tables.
        seeds: Of the runs of each row.
        overrides: The user's ``--cfg-options``, for all rows.
        pretraining_overrides: The same for the runs that rows start from.
        data_root: Folder of the data in the place of the configs' own.
        launch: How processes are started.
    """

    work_dir: Path
    seeds: tuple[int, ...] = (0,)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    pretraining_overrides: Mapping[str, Any] = field(default_factory=dict)
    data_root: str | None = None
    launch: Launch = Launch()


@dataclass(frozen=True)
class Run:
    """A training of a row with one seed, or one that rows start from.

    Args:
        label: For the user.
        folder: Where everything of it is written.
        config: The resolved config.
        facts: What `run.json` and later `result.json` say of it; json values.
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
        """Compare with what the folder was started with.

        Raises:
            ValueError: If the folder holds a run of another configuration.
        """
        file = self.folder / RUN_FILE
        if not file.is_file():
            return
        before = json.loads(file.read_text())
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


def settings(config: Config, world_size: int) -> Flat:
    """Return what decides a run's result: the config without what may change."""
    flat = {
        key: value
        for key, value in flatten(config).items()
        if not any(key == name or key.startswith(f"{name}.") for name in _CHANGEABLE)
        and key.split(".")[-1] not in _CHANGEABLE_LAST
    }
    return flat | {"world_size": world_size}


def settings_hash(config: Config, world_size: int) -> str:
    """Return a short hash of ``settings``."""
    text = json.dumps(settings(config, world_size), sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def choose_rows(table: Table, names: Sequence[str] | None) -> list[Row]:
    """Return the rows to run.

    Args:
        table: Where they are from.
        names: Names or slugs; None for every row that can be trained.

    Raises:
        ValueError: If a row is unknown, with near ones, or is not trained here, with
            the reason.
    """
    if names is None:
        rows = [row for row in table.rows if row.kind == "trainable"]
        if not rows:
            raise ValueError(f"table '{table.id}' has no row that can be trained here")
        return rows
    known = {name: row for row in table.rows for name in (row.name, row.slug)}
    chosen: dict[str, Row] = {}
    for name in names:
        row = known.get(name)
        if row is None:
            near = difflib.get_close_matches(slug_of(name), known, n=3, cutoff=0.3)
            near = near or [row.slug for row in table.rows][:3]
            raise ValueError(
                f"table '{table.id}' has no row '{name}'; near ones: "
                f"{', '.join(near)} (all: show {table.id})"
            )
        if row.kind != "trainable":
            what = "quoted" if row.kind == "quoted" else "not trained here"
            raise ValueError(f"row '{row.name}' is {what}: {row.quoted or row.reason}")
        chosen[row.slug] = row
    return list(chosen.values())


def plan_runs(table: Table, rows: Sequence[Row], request: Request) -> list[Run]:
    """Return all runs in order: every row with the first seed, then with the next.

    A run that rows start from stands once, before the first of them.

    Raises:
        ValueError: If a config or an option is wrong, with the row.
        LookupError: If a config does not exist.
    """
    runs: dict[Path, Run] = {}
    for seed in request.seeds:
        for row in rows:
            try:
                for run in _plan_row(table, row, seed, request):
                    runs.setdefault(run.folder, run)
            except ValueError as error:
                raise ValueError(f"row '{row.name}': {error}") from None
    return list(runs.values())


def _plan_row(table: Table, row: Row, seed: int, request: Request) -> list[Run]:
    assert row.config is not None
    runs = []
    options = dict(row.options)
    before: list[str] = []
    if row.pretraining is not None:
        first = row.pretraining
        text = json.dumps([first.config, dict(first.options)], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        folder = f"{first.config.rsplit('/', 1)[-1]}-{digest}"
        run = _plan(
            f"pretraining of '{row.name}'",
            request.work_dir / "pretraining" / folder / f"seed{seed}",
            (first.config, dict(first.options), request.pretraining_overrides),
            seed,
            request.launch,
            dict(evaluate=False),
        )
        runs.append(run)
        checkpoint = first.checkpoint
        if any(key.startswith("train_cfg") for key in request.pretraining_overrides):
            checkpoint = _last_checkpoint(run.config)
        options["load_from"] = str((run.folder / checkpoint).resolve())
        before = [
            f"{entry.split(':')[0]}: pretraining {entry.split(': ', 1)[1]}"
            for entry in run.facts["deviations"]
        ]
    run = _plan(
        row.name,
        request.work_dir / table.id / row.slug / f"seed{seed}",
        (row.config, options, request.overrides),
        seed,
        request.launch,
        dict(evaluate=True, table=table.id, row=row.name, slug=row.slug),
        request.data_root,
    )
    run.facts["deviations"] += before
    return [*runs, run]


def _last_checkpoint(config: Config) -> str:
    train = config.train_cfg
    if "max_iters" in train:
        return f"iter_{train.max_iters}.pth"
    return f"epoch_{train.max_epochs}.pth"


def _plan(
    label: str,
    folder: Path,
    sources: tuple[str, Mapping[str, Any], Mapping[str, Any]],
    seed: int,
    launch: Launch,
    facts: dict[str, Any],
    data_root: str | None = None,
) -> Run:
    name, options, overrides = sources
    own = load_config(name, options)
    if (own.get("auto_scale_lr") or {}).get("base_batch_size"):
        own.auto_scale_lr.enable = True
    config = copy.deepcopy(own)
    if data_root is not None:
        set_data_root(config, data_root)
    merge_options(config, overrides)
    config.work_dir = str(folder)
    config.randomness = dict(config.get("randomness") or {}, seed=seed)
    if facts["evaluate"]:
        evaluated_split(config)
    batch, base = batch_sizes(config, launch.world_size)
    scaled = bool(base and batch and config.auto_scale_lr.get("enable"))
    optimizer = config.optim_wrapper.get("optimizer") or {}
    rate = optimizer.get("lr")
    factor = batch / base if scaled else 1.0
    facts = facts | dict(
        seed=seed,
        config=name,
        options=_plain(options),
        overrides=_plain(overrides) | ({"data_root": data_root} if data_root else {}),
        settings=settings_hash(config, launch.world_size),
        settings_of_all_seeds=_hash_without_seed(config, launch.world_size),
        world_size=launch.world_size,
        batch_size=batch,
        base_batch_size=base,
        config_learning_rate=rate,
        learning_rate=rate * factor if rate is not None else None,
        learning_rate_scaled=scaled,
        deviations=deviations(own, config, launch.world_size, facts["evaluate"]),
    )
    return Run(label, folder, config, facts)


def _hash_without_seed(config: Config, world_size: int) -> str:
    config = copy.deepcopy(config)
    config.randomness = dict(config.randomness, seed=None)
    # The checkpoint that a run starts from has the same seed.
    config.load_from = None
    return settings_hash(config, world_size)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(options), default=repr))
