"""Detection on large images, tile by tile.

Not imported by ``import fpn_necks``: it registers nothing.
"""

from .drawing import draw_detections
from .images import read_image
from .sliced import detect_sliced

__all__ = ["detect_sliced", "draw_detections", "read_image"]
