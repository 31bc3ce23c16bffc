"""One file per neck; importing this package registers them into mmdet."""

from .pyramid_neck import PyramidNeck
from .s_alpha_fpn import SAlphaFPN

__all__ = ["PyramidNeck", "SAlphaFPN"]
