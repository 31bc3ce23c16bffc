"""Runs trainings by mmdet's ``tools/train.py``, under torchrun or srun.

Every row and seed has a folder with its whole config, its log and at the end its
result. A finished run is skipped, an interrupted one resumes, a failed one does not
stop the others. torchrun or srun start and watch the processes.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mmcv
import mmdet
import mmengine
import torch

import fpn_necks

from ..checkpoints import last_checkpoint, read_checkpoint
from ..io import write_json, write_text
from ..messages import one_line
from .compare import evaluated_split
from .plan import CONFIG_FILE, RESULT_FILE, RUN_FILE, Run

OUTPUT_FILE = "output.txt"

_ERROR = re.compile(r"^(?:\[rank\d+\]: *)?([\w.]*(?:Error|Exception)\b.*)$", re.M)


@dataclass(frozen=True)
class Launch:
    """How the processes of a run are started.

    Args:
        launcher: ``none`` (one process), ``pytorch`` (torchrun on this machine) or
            ``slurm`` (srun). Several processes need a GPU each.
        gpus: Processes per node, one per GPU.
        nodes: Number of nodes; more than one with slurm alone.
        srun_args: Further arguments of srun, such as ``-p partition``.

    Raises:
        ValueError: A number is below 1, or the launcher cannot start so many.
    """

    launcher: Literal["none", "pytorch", "slurm"] = "none"
    gpus: int = 1
    nodes: int = 1
    srun_args: str = ""

    def __post_init__(self) -> None:
        if min(self.gpus, self.nodes) < 1:
            raise ValueError(
                f"gpus and nodes must be at least 1, got {self.gpus} and {self.nodes}"
            )
        most = dict(none=1, pytorch=self.gpus).get(self.launcher, self.world_size)
        if self.world_size > most:
            raise ValueError(
                f"{self.gpus} GPUs on {self.nodes} nodes need another launcher than "
                f"{self.launcher}"
            )

    @property
    def world_size(self) -> int:
        """Number of processes of all nodes."""
        return self.gpus * self.nodes

    def command(self, script: str, arguments: Sequence[str], name: str) -> list[str]:
        """Return the command that runs one of mmdet's tools; slurm shows the name."""
        words = [sys.executable, "-u", str(_mmdet_tool(script)), *arguments]
        if self.launcher == "none":
            return words
        words += ["--launcher", self.launcher]
        if self.launcher == "pytorch":
            torchrun = ["-m", "torch.distributed.run", "--standalone"]
            return [words[0], *torchrun, f"--nproc_per_node={self.gpus}", *words[2:]]
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
            *words,
        ]


def _mmdet_tool(name: str) -> Path:
    package = Path(mmdet.__file__).parent
    # A wheel carries them inside the package, a clone beside it.
    for file in (package / ".mim" / "tools" / name, package.parent / "tools" / name):
        if file.is_file():
            return file
    raise FileNotFoundError(f"mmdet in {package} has no tools/{name}; install it again")


def describe(run: Run, launch: Launch, images_per_second: float) -> list[str]:
    """Say what would be run, without writing anything; lines for ``--dry-run``."""
    facts, images = run.facts, run.training_images()
    seen = "unknown without the data"
    if images is not None:
        hours = images / images_per_second / 3600
        seen = f"{images:,}, {hours:.1f} GPU hours at {images_per_second:g} a second"
    return [
        f"state: {run.state()}",
        f"config: {facts['config']}",
        *(f"option: {key}={value!r}" for key, value in facts["options"].items()),
        f"batch: {facts['batch_size']} on {launch.world_size} process(es)",
        f"learning rate: {facts['learning_rate']:g}",
        f"training images: {seen}",
        *(f"not comparable: {entry}" for entry in facts["deviations"]),
        f"command: {shlex.join(_train_command(run, launch))}",
    ]


def run_all(runs: Sequence[Run], launch: Launch) -> dict[str, str]:
    """Train and test what is not finished, with a line per event.

    What other processes write goes to files.

    Args:
        runs: In order.
        launch: How their processes are started.

    Returns:
        Label and reason of the runs that failed.

    Raises:
        ValueError: A folder holds a run of another configuration; nothing is started.
    """
    for run in runs:
        run.check_folder()
    failed: dict[str, str] = {}
    for number, run in enumerate(runs, 1):
        label = f"{run.label}, seed {run.facts['seed']}"
        head, state = f"{number} of {len(runs)}: {label}", run.state()
        if state == "finished":
            print(f"{head}: finished before", flush=True)
            continue
        again = " resumes" if state == "interrupted" else ""
        print(f"{head}{again}; output: {run.folder / OUTPUT_FILE}", flush=True)
        try:
            reason = _run_one(run, launch)
        except (OSError, ValueError) as error:
            reason = one_line(error)
        if reason is not None:
            failed[label] = reason
            print(f"  failed: {reason}", flush=True)
    return failed


def _run_one(run: Run, launch: Launch) -> str | None:
    """Train and test; return why it failed, None if there is a result."""
    folder, output = run.folder, run.folder / OUTPUT_FILE
    with _alone_in(folder):
        _prepare(run)
        begin = output.stat().st_size if output.is_file() else 0
        status = execute_command(_train_command(run, launch), output)
        metrics = _read_metrics(folder) if run.facts["evaluate"] else {}
        if status == 0 and metrics is None:
            # A run that was interrupted before its last evaluation.
            words = [str(folder / CONFIG_FILE), str(last_checkpoint(folder))]
            words += ["--work-dir", str(folder)]
            status = execute_command(launch.command("test.py", words, "test"), output)
            metrics = _read_metrics(folder)
        if status != 0 or metrics is None:
            return _reason(status, output, begin)
        write_json(folder / RESULT_FILE, run.facts | _measured(metrics), indent=1)
    return None


def _prepare(run: Run) -> None:
    """Write what a start needs; refuse weights that are missing or unsafe."""
    config, folder = copy.deepcopy(run.config), run.folder
    weights, checkpoint = config.get("load_from"), last_checkpoint(folder)
    if checkpoint is not None:
        read_checkpoint(checkpoint)  # refuses what is not safe
        # Whence mmengine resumes: the folder may have been moved, the file damaged.
        write_text(folder / "last_checkpoint", str(checkpoint.resolve()))
    elif weights and "://" not in weights:
        if not Path(weights).expanduser().is_file():
            raise FileNotFoundError(f"it starts from {weights}, which is missing")
        read_checkpoint(weights)
    if run.facts["evaluate"] and evaluated_split(config) == "val":
        # tools/test.py has to measure what the training measures.
        config.test_dataloader = config.val_dataloader
        config.test_evaluator = config.val_evaluator
        config.test_cfg = dict(type="TestLoop")
    write_text(folder / CONFIG_FILE, config.pretty_text)
    # Last: a folder without this file has not been started.
    if not (folder / RUN_FILE).is_file():
        write_json(folder / RUN_FILE, run.facts, indent=1)


def _train_command(run: Run, launch: Launch) -> list[str]:
    words = [str(run.folder / CONFIG_FILE), "--work-dir", str(run.folder)]
    # It forgets load_from, the weights that the run began with.
    words += ["--resume"] if last_checkpoint(run.folder) is not None else []
    return launch.command("train.py", words, run.folder.parent.name)


def execute_command(command: Sequence[str], output: Path) -> int:
    """Run a command, its output appended to a file; return its exit status.

    On an interruption the command is told to end: launchers end their own processes.
    """
    with output.open("a", encoding="utf-8") as file:
        print(f"$ {shlex.join(command)}", file=file, flush=True)
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder; a ``ValueError`` if another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        with contextlib.suppress(ImportError, OSError):  # not everywhere are locks
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another run is going on in {folder}") from None
        yield


def _read_metrics(folder: Path) -> dict[str, float | None] | None:
    """Return what the newest start measured at its end, None if it did not."""
    # mmengine makes a folder per start, and names it after the time.
    start = max(folder.glob("[0-9]*_[0-9]*"), default=folder)
    tested, logged = start / f"{start.name}.json", start / "vis_data" / "scalars.json"
    found = next((file for file in (tested, logged) if file.is_file()), None)
    lines = found.read_text(encoding="utf-8").splitlines() if found else []
    record = json.loads(lines[-1]) if lines else {}
    metrics = {
        key: value if math.isfinite(value) else None
        for key, value in record.items()
        if "/" in key and isinstance(value, int | float)
    }
    return None if "iter" in record else metrics or None  # not of a training step


def _measured(metrics: dict[str, float | None]) -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    modules = (fpn_necks, mmdet, mmcv, mmengine, torch)
    now = datetime.datetime.now(datetime.timezone.utc)
    return dict(
        metrics=metrics,
        versions={module.__name__: module.__version__ for module in modules},
        device=torch.cuda.get_device_name() if cuda else "cpu",
        finished=now.isoformat("T", "seconds"),
    )


def _reason(status: int, output: Path, begin: int) -> str:
    """Return the last error that a start printed, else how it ended."""
    text = output.read_bytes()[begin:].decode(errors="replace")
    # torchrun reports the failure of its processes as an error of its own.
    errors = [m[1] for m in _ERROR.finditer(text) if "ChildFailedError" not in m[1]]
    if errors:
        return errors[-1]
    if status < 0:
        return f"ended by signal {-status}"
    return f"exit status {status}; the end of {output} says more"
