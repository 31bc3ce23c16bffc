"""Training hooks; importing this package registers them into mmdet."""

from .fusion_factor_hook import FusionFactorHook

__all__ = ["FusionFactorHook"]
