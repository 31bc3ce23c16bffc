"""Auxiliary supervision of single levels, in training only."""

from .box_losses import box_losses_per_level

__all__ = ["box_losses_per_level"]
