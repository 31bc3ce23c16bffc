"""Training hooks; importing this package registers them into mmdet."""

from .fusion_factor_hook import FusionFactorHook
from .neck_visualization_hook import NeckVisualizationHook

__all__ = ["FusionFactorHook", "NeckVisualizationHook"]
