"""Building blocks in plain torch and ``mmcv.cnn``: no registry, no mmdet."""

from .adaptive_channel_fusion import AdaptiveChannelFusion
from .adaptive_pooling import adaptive_average_pool
from .adaptive_spatial_fusion import AdaptiveSpatialFusion
from .feature_grouping import (
    GROUP_UPSAMPLING,
    CascadeFeatureGrouping,
    FeatureGrouping,
    GroupingMatrix,
)
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
from .residual_features import ResidualFeatures, SumFusion

__all__ = [
    "GROUP_UPSAMPLING",
    "AdaptiveChannelFusion",
    "AdaptiveSpatialFusion",
    "AttentionFusionFactor",
    "CascadeFeatureGrouping",
    "ExtraLevels",
    "FeatureGrouping",
    "FixedFusionFactor",
    "FusionFactor",
    "GroupingMatrix",
    "LateralConvs",
    "LearnableFusionFactor",
    "LevelRange",
    "OutputConvs",
    "ResidualFeatures",
    "StatisticFusionFactor",
    "SumFusion",
    "adaptive_average_pool",
    "check_channels",
    "check_factors",
    "resize_to",
    "top_down",
    "weighted_top_down",
]
