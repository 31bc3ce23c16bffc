"""One of several processes that train configs, each from its last checkpoint on.

``torchrun --nproc-per-node=N -m tests.distributed.resuming_worker CONFIG...``: what
mmdet's ``tools/train.py --launcher pytorch --resume`` does, on a machine without a GPU.
"""

import sys

from mmengine.config import Config
from mmengine.runner import Runner

from fpn_necks.reproduction.worker import join_without_gpu, leave_group


def main(files: list[str]) -> None:
    """Train the configs in their order."""
    configs = [Config.fromfile(file) for file in files]
    join_without_gpu(configs[0], "pytorch")
    for config in configs:
        config.model_wrapper_cfg = configs[0].model_wrapper_cfg
        config.launcher = "pytorch"
        config.resume = True
        Runner.from_cfg(config).train()
    leave_group()


if __name__ == "__main__":
    main(sys.argv[1:])
