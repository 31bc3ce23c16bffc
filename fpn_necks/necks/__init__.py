"""One file per neck; importing this package registers them into mmdet."""

from .asff import ASFF
from .augfpn import AugFPN
from .cfg_fpn import CFGFPN
from .drfpn import DRFPN
from .pyramid_neck import PyramidNeck
from .s_alpha_fpn import SAlphaFPN

__all__ = ["ASFF", "CFGFPN", "DRFPN", "AugFPN", "PyramidNeck", "SAlphaFPN"]
