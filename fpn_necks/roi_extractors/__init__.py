"""RoI extractors; importing this package registers them into mmdet.

They need mmcv's compiled ops, as every two-stage detector does. Without those
(mmcv-lite) the package is empty, and the necks still work.
"""

try:
    import mmcv.ops  # noqa: F401
except ImportError:
    __all__ = []
else:
    from .all_level_roi_extractor import AllLevelRoIExtractor
    from .inclusive_roi_extractor import InclusiveRoIExtractor
    from .soft_roi_extractor import SoftRoIExtractor, level_shares, original_levels

    __all__ = [
        "AllLevelRoIExtractor",
        "InclusiveRoIExtractor",
        "SoftRoIExtractor",
        "level_shares",
        "original_levels",
    ]
