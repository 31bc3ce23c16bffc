"""Several processes on a machine without a GPU; mmengine's launchers need one each."""

from __future__ import annotations

import time

from mmengine.config import Config
from torch import distributed


def join_without_gpu(config: Config) -> None:
    """Form the group of torchrun's processes with gloo, and wrap the model for it.

    mmengine chooses a CUDA device per process whatever the backend is, and hands its
    index to DistributedDataParallel.

    Args:
        config: Gets the wrapper.
    """
    distributed.init_process_group("gloo")
    config.model_wrapper_cfg = dict(
        type="MMDistributedDataParallel",
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=config.get("find_unused_parameters", False),
    )


def leave_group() -> None:
    """Leave the group of processes when all of them are ready to.

    Without it a process of gloo may end by SIGABRT: a thread of gloo lets go of a
    tensor after it has woken whoever waits for it, and is ended with its process if
    Python is shutting down by then. DDP keeps these threads alive beyond the group.
    """
    distributed.barrier()
    distributed.destroy_process_group()
    time.sleep(0.5)  # nothing tells when a thread is done
