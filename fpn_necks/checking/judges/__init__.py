"""Judges turn what is known of a detector into findings, one module per question."""

from .backbone_levels import judge_backbone_levels
from .batches import judge_batches
from .building import judge_building
from .channels import judge_channels
from .classes import judge_classes
from .fusion_factors import judge_fusion_factors
from .imports import judge_imports
from .strides import judge_strides
from .weights import judge_weights

__all__ = [
    "judge_backbone_levels",
    "judge_batches",
    "judge_building",
    "judge_channels",
    "judge_classes",
    "judge_fusion_factors",
    "judge_imports",
    "judge_strides",
    "judge_weights",
]
