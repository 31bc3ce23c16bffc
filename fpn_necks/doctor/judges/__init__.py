"""Judges turn the facts of one step into findings."""

from .libraries import judge_library
from .machine import judge_build_tools, judge_copies, judge_gpu, judge_python
from .operations import (
    judge_config_printing,
    judge_mmcv_nms,
    judge_mmcv_ops,
    judge_torch_numpy,
    judge_torchvision_nms,
)
from .this_package import judge_checkpoint, judge_fpn_necks

__all__ = [
    "judge_build_tools",
    "judge_checkpoint",
    "judge_config_printing",
    "judge_copies",
    "judge_fpn_necks",
    "judge_gpu",
    "judge_library",
    "judge_mmcv_nms",
    "judge_mmcv_ops",
    "judge_python",
    "judge_torch_numpy",
    "judge_torchvision_nms",
]
