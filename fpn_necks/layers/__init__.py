"""Building blocks in plain torch and ``mmcv.cnn``: no registry, no mmdet."""

from .adaptive_pooling import adaptive_average_pool
from .arguments import check_bool, check_choice, check_int, check_list, check_number
from .channel_refinement import ChannelRefinement
from .constants import in_graph
from .context import DenseASPPContext, NonLocalContext, PyramidPooling
from .conv_block import conv_block
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
from .level_fusion import (
    CompressedLevelScores,
    DirectLevelScores,
    LevelFusion,
    softmax_over_levels,
)
from .level_resizing import LevelResizing, check_level_order
from .levels import LevelRange, check_maps
from .map_fusion import (
    AdaptiveChannelFusion,
    AdaptiveSpatialFusion,
    MaxFusion,
    SumFusion,
    weighted_sum,
)
from .narrow_conv import NarrowConv
from .pyramid import (
    ExtraLevels,
    LateralConvs,
    OutputConvs,
    fit_to,
    resize_to,
    top_down,
    weighted_top_down,
)
from .recomputing import recompute
from .residual_feature_augmentation import ResidualFeatureAugmentation
from .spatial_refinement import SpatialRefinement

__all__ = [
    "GROUP_UPSAMPLING",
    "AdaptiveChannelFusion",
    "AdaptiveSpatialFusion",
    "AttentionFusionFactor",
    "CascadeFeatureGrouping",
    "ChannelRefinement",
    "CompressedLevelScores",
    "DenseASPPContext",
    "DirectLevelScores",
    "ExtraLevels",
    "FeatureGrouping",
    "FixedFusionFactor",
    "FusionFactor",
    "GroupingMatrix",
    "LateralConvs",
    "LearnableFusionFactor",
    "LevelFusion",
    "LevelRange",
    "LevelResizing",
    "MaxFusion",
    "NarrowConv",
    "NonLocalContext",
    "OutputConvs",
    "PyramidPooling",
    "ResidualFeatureAugmentation",
    "SpatialRefinement",
    "StatisticFusionFactor",
    "SumFusion",
    "adaptive_average_pool",
    "check_bool",
    "check_choice",
    "check_factors",
    "check_int",
    "check_level_order",
    "check_list",
    "check_maps",
    "check_number",
    "conv_block",
    "fit_to",
    "in_graph",
    "recompute",
    "resize_to",
    "softmax_over_levels",
    "top_down",
    "weighted_sum",
    "weighted_top_down",
]
