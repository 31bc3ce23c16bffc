"""Dense heads and anchors; importing this package registers them into mmdet.

mmdet's own, which they extend, need mmcv's compiled ops. Without those (mmcv-lite)
the package is empty, and the necks still work.
"""

try:
    import mmcv.ops  # noqa: F401
except ImportError:
    __all__ = []
else:
    from .rounded_anchor_generator import RoundedAnchorGenerator
    from .yolov3_head import BridgelessYOLOV3Head

    __all__ = ["BridgelessYOLOV3Head", "RoundedAnchorGenerator"]
