"""Building blocks in plain torch and ``mmcv.cnn``: no registry, no mmdet."""

from .adaptive_pooling import adaptive_average_pool
from .fusion_factors import (
    AttentionFusionFactor,
    FixedFusionFactor,
    FusionFactor,
    LearnableFusionFactor,
    StatisticFusionFactor,
    check_factors,
)
from .levels import LevelRange, check_channels
from .pyramid import (
    ExtraLevels,
    LateralConvs,
    OutputConvs,
    resize_to,
    top_down,
    weighted_top_down,
)

__all__ = [
    "AttentionFusionFactor",
    "ExtraLevels",
    "FixedFusionFactor",
    "FusionFactor",
    "LateralConvs",
    "LearnableFusionFactor",
    "LevelRange",
    "OutputConvs",
    "StatisticFusionFactor",
    "adaptive_average_pool",
    "check_channels",
    "check_factors",
    "resize_to",
    "top_down",
    "weighted_top_down",
]
