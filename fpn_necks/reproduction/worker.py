"""One process of a run: trains, tests and writes the result.

Not for users: ``fpn-necks reproduce`` starts it, as
``python -m fpn_necks.reproduction.worker CONFIG``, alone or once per GPU. It is
mmengine's Runner with three additions: a run goes on from its last checkpoint without
losing the weights that a new one starts from, processes without a GPU use gloo, and
the result of the evaluation goes into a file.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import mmcv
import mmdet
import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import distributed

import fpn_necks

from ..checkpoints import last_checkpoint, require_safe_checkpoint
from .comparability import evaluated_split
from .planning import RESULT_FILE, RUN_FILE
from .results import write_json

_TIME_KEY = "fpn_necks_wall_time_s"


class RunRecorder(Hook):
    """Keeps the last evaluation, and the time over all starts of a run.

    The time is kept in the checkpoints, so that work lost in an interruption does not
    count.
    """

    priority = "VERY_LOW"

    def __init__(self, resumed: bool) -> None:
        self.metrics: dict[str, Any] | None = None
        self.evaluated_at = -1
        self._resumed = resumed
        self._before = 0.0
        self._start = time.monotonic()

    @property
    def wall_time(self) -> float:
        """Seconds of all starts together, up to now."""
        return self._before + time.monotonic() - self._start

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the time of the earlier starts over."""
        if self._resumed:
            self._before = float(checkpoint.get(_TIME_KEY, 0.0))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the time into the checkpoint."""
        checkpoint[_TIME_KEY] = self.wall_time

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Keep the metrics with the iteration they were measured at."""
        self.metrics, self.evaluated_at = dict(metrics or {}), runner.iter

    after_test_epoch = after_val_epoch


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder as long as this process lives.

    Raises:
        RuntimeError: If another process holds it.
    """
    lock = _lock(folder / "lock")
    try:
        yield
    finally:
        lock.close()


def _lock(path: Path) -> IO[str]:
    file = path.open("w")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RuntimeError(f"another run is going on in {path.parent}") from None
    except (ImportError, OSError):
        pass  # not every system and network folder has locks
    return file


def join_without_gpu(config: Config, launcher: str) -> None:
    """Form the group of processes with gloo, and wrap the model for it.

    mmengine chooses a CUDA device per process whatever the backend is, and hands its
    index to DistributedDataParallel.

    Args:
        config: Gets the wrapper, unless it has one.
        launcher: ``pytorch`` or ``slurm``.
    """
    if launcher == "slurm":
        _translate_slurm()
    distributed.init_process_group("gloo")
    if config.get("model_wrapper_cfg") is None:
        config.model_wrapper_cfg = dict(
            type="MMDistributedDataParallel",
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=config.get("find_unused_parameters", False),
        )


def leave_group() -> None:
    """Leave the group of processes when all of them are ready to.

    Without it a process of gloo may end by SIGABRT, and whoever has started it takes
    the run as failed: a thread of gloo lets go of a tensor after it has woken whoever
    waits for it, and is ended with its process if Python is shutting down by then. DDP
    keeps these threads alive beyond the group.
    """
    if not distributed.is_initialized():
        return
    uses_gloo = distributed.get_backend() == "gloo"
    distributed.barrier()
    distributed.destroy_process_group()
    if uses_gloo:
        time.sleep(0.5)  # nothing tells when a thread is done


def _translate_slurm() -> None:
    """Set torch's variables from slurm's, as mmengine does for GPUs."""
    first = "localhost"
    if "MASTER_ADDR" not in os.environ:
        nodes = os.environ["SLURM_NODELIST"]
        hosts = subprocess.run(
            ["scontrol", "show", "hostname", nodes],
            capture_output=True,
            text=True,
            check=True,
        )
        first = hosts.stdout.split()[0]
    os.environ.setdefault("MASTER_ADDR", first)
    os.environ.setdefault("MASTER_PORT", "29500")
    os.environ["RANK"] = os.environ["SLURM_PROCID"]
    os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
    os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]


def evaluate(runner: Runner, recorder: RunRecorder) -> dict[str, Any]:
    """Return the metrics of the trained weights, measured now if need be."""
    # Interrupted between the last checkpoint and its evaluation, a run has none; nor
    # have configs that do not evaluate after the last step.
    if recorder.evaluated_at != runner.iter:
        split = evaluated_split(runner.cfg)
        if split == "val":
            runner.val_loop.run()
        else:
            runner.test_loop.run()
    assert recorder.metrics is not None
    return recorder.metrics


def parameter_digests(model: torch.nn.Module) -> list[str]:
    """Return a digest of the parameters per process.

    Raises:
        RuntimeError: If the processes have trained apart.
    """
    if is_model_wrapper(model):
        model = model.module
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        data = parameter.detach().cpu().contiguous().view(-1).view(torch.uint8)
        digest.update(data.numpy().tobytes())
    mine = digest.hexdigest()
    if not distributed.is_initialized():
        return [mine]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, mine)
    if len(set(found)) > 1:
        raise RuntimeError(f"the processes' parameters differ: {found}")
    return found


def environment() -> dict[str, Any]:
    """Return the versions and the device that a result was made with."""
    cuda = torch.cuda.is_available()
    return dict(
        versions=dict(
            fpn_necks=fpn_necks.__version__,
            mmdet=mmdet.__version__,
            mmcv=mmcv.__version__,
            mmengine=mmengine.__version__,
            torch=torch.__version__,
            numpy=np.__version__,
            python=platform.python_version(),
        ),
        device=torch.cuda.get_device_name() if cuda else "cpu",
    )


def learning_rates(runner: Runner) -> list[float]:
    """Return the learning rates of the parameter groups before any schedule."""
    optimizer = getattr(runner.optim_wrapper, "optimizer", None)
    groups = optimizer.param_groups if optimizer is not None else []
    return sorted({float(group.get("initial_lr", group["lr"])) for group in groups})


def run(config_file: Path, launcher: str) -> None:
    """Train and test a config; the main process writes the result beside it."""
    config = Config.fromfile(config_file)
    folder = config_file.parent
    facts = json.loads((folder / RUN_FILE).read_text())
    checkpoint = last_checkpoint(folder)
    config.work_dir = str(folder)
    config.launcher = launcher
    config.resume = checkpoint is not None
    if checkpoint is not None:
        config.load_from = str(checkpoint)
    if config.get("load_from"):
        # mmengine would unpickle it by torch's default.
        require_safe_checkpoint(config.load_from)
    if launcher != "none" and not torch.cuda.is_available():
        join_without_gpu(config, launcher)
    runner = Runner.from_cfg(config)
    if runner.world_size != facts["world_size"]:
        raise RuntimeError(
            f"{runner.world_size} processes were started, not {facts['world_size']}"
        )
    recorder = RunRecorder(resumed=checkpoint is not None)
    runner.register_hook(recorder)
    runner.train()
    metrics = evaluate(runner, recorder) if facts["evaluate"] else {}
    result = facts | dict(
        metrics=metrics,
        iterations=runner.iter,
        learning_rates=learning_rates(runner),
        parameters_sha256=parameter_digests(runner.model),
        wall_time_s=round(recorder.wall_time, 1),
        finished=datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
        **environment(),
    )
    if runner.rank == 0:
        write_json(folder / RESULT_FILE, result)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--launcher", choices=("none", "pytorch", "slurm"), default="none"
    )
    options = parser.parse_args(arguments)
    rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))
    is_main = options.launcher == "none" or rank == "0"
    folder = options.config.resolve().parent
    with alone_in(folder) if is_main else contextlib.nullcontext():
        run(options.config.resolve(), options.launcher)
        # The first to end would have the others killed, if it ended badly: not before
        # the result is written.
        leave_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
