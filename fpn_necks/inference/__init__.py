"""Detection on large images, tile by tile.

Not imported by ``import fpn_necks``: it registers nothing.
"""

from fpn_necks.detectors import read_image
from fpn_necks.visualization.boxes import draw_detections

from .sliced import detect_sliced

__all__ = ["detect_sliced", "draw_detections", "read_image"]
