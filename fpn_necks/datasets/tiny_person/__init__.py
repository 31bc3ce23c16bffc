"""TinyPerson: tiles, the data set class, and what its files must hold.

The class and its loader need mmdet's data sets, which need mmcv's compiled ops. Without
those (mmcv-lite) the rest still works.
"""

from fpn_necks.coco_files import check_coco, read_coco, write_coco

from .checker import CheckedFile, check_tiny_person
from .cutting import TileCounts, tile_coco
from .tiles import TileSettings, tile_corners

__all__ = [
    "CheckedFile",
    "TileCounts",
    "TileSettings",
    "check_coco",
    "check_tiny_person",
    "read_coco",
    "tile_coco",
    "tile_corners",
    "write_coco",
]

try:
    import mmcv.ops  # noqa: F401
except ImportError:
    pass
else:
    from .dataset import TinyPersonDataset
    from .loading import LoadImageTile
    from .sampler import TileSampler

    __all__ += ["LoadImageTile", "TileSampler", "TinyPersonDataset"]
