"""One file per neck; importing this package registers them into mmdet."""

from .augfpn import AugFPN
from .cfg_fpn import CFGFPN
from .pyramid_neck import PyramidNeck
from .s_alpha_fpn import SAlphaFPN

__all__ = ["CFGFPN", "AugFPN", "PyramidNeck", "SAlphaFPN"]
