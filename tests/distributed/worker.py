"""One of several processes: trains cases and writes what it has found.

``torchrun --nproc-per-node=N -m tests.distributed.worker FOLDER TASK...``; a task is
``CASE:EMPTY``, EMPTY the ranks that never see an object, such as ``1`` or none.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.hooks import SyncBuffersHook
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import Tensor, nn

from tests.distributed.cases import (
    CASES,
    batch_of,
    build,
    config_of,
    freeze_norms,
    gradients,
    losses_of,
)
from tests.distributed.processes import leave_group

STEPS = 8


def wrap(model: nn.Module) -> MMDistributedDataParallel:
    """Wrap a detector as mmengine does: parameters without gradient are an error."""
    return MMDistributedDataParallel(
        model, broadcast_buffers=False, find_unused_parameters=False
    )


def first_gradients(name: str, rank: int, empty: bool) -> dict[str, Tensor]:
    """Return the gradient that all processes have together in the first step."""
    case = CASES[name]
    model = build(name, case.gradient_dtype)
    if case.gradient == "global":
        # Statistics of a batch would be those of each process's part of it.
        freeze_norms(model)
    wrapped = wrap(model)
    batch = batch_of(rank, 0, empty, model.with_mask)
    return gradients(wrapped, losses_of(wrapped, batch, seed=rank))


def train(name: str, rank: int, empty: bool) -> dict[str, Any]:
    """Train as the config says, from the beginning of its warm-up.

    Returns:
        Of all steps, the losses; in the end, the state before and after mmengine's
        synchronisation of buffers; the first step's gradients.
    """
    first = first_gradients(name, rank, empty)
    config = config_of(name)
    assert not config.get("find_unused_parameters", False)
    assert config.get("model_wrapper_cfg") is None
    model = wrap(build(name))
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    warm_up = dict(config.param_scheduler[0])
    assert warm_up["type"] in ("LinearLR", "ConstantLR") and not warm_up["by_epoch"]
    scheduler = PARAM_SCHEDULERS.build(dict(warm_up, optimizer=wrapper))
    losses = []
    for step in range(STEPS):
        torch.manual_seed(1000 * step + rank)
        batch = batch_of(rank, step, empty, model.module.with_mask)
        values = model.train_step(batch, wrapper)
        scheduler.step()
        losses.append({key: float(value) for key, value in values.items()})
    own = {key: value.clone() for key, value in model.module.state_dict().items()}
    SyncBuffersHook().after_train_epoch(SimpleNamespace(model=model))
    return dict(
        losses=losses,
        own_state=own,
        state=model.module.state_dict(),
        optimizer=wrapper.optimizer.state_dict()["state"],
        gradients=first,
    )


def main(folder: Path, tasks: list[str]) -> None:
    """Do the tasks in their order; write ``FOLDER/TASK.RANK.pth``."""
    logging.disable(logging.INFO)  # mmdet says for every weight how it was drawn
    # mmengine's own start wants a GPU wherever torch was built with CUDA.
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    for task in tasks:
        name, _, empty = task.partition(":")
        found = train(name, rank, str(rank) in empty.split(","))
        torch.save(found, folder / f"{task}.{rank}.pth")
    leave_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
