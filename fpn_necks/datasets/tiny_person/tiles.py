"""Where the tiles of an image lie: integer arithmetic, no image is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fpn_necks.layers.arguments import check_choice, check_int, check_list, check_number


@dataclasses.dataclass(frozen=True)
class TileSettings:
    """How images and their boxes are cut; checked when it is made.

    Args:
        size: (width, height) of a tile in pixels, positive.
        overlap: (width, height) that neighbours share at least, in pixels; at least 0
            and smaller than the tile.
        keep: Share of a box's size, sqrt(area), in (0, 1], that must be inside a tile
            for the box to count there.
        cut_boxes: What becomes of boxes with a smaller share: ``"ignore"`` keeps the
            visible part as an ignored box, ``"drop"`` leaves it out, which makes it
            background. The released code drops.

    Raises:
        ValueError: An argument is out of range; the message names it.
        TypeError: A size is no whole number.
    """

    size: tuple[int, int] = (640, 512)
    overlap: tuple[int, int] = (50, 50)
    keep: float = 0.7
    cut_boxes: str = "ignore"

    def __post_init__(self) -> None:
        size, overlap = _check_tile("size", self.size, "overlap", self.overlap)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "overlap", overlap)
        check_number("keep", self.keep, above=0, maximum=1)
        check_choice("cut_boxes", self.cut_boxes, ("ignore", "drop"))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TileSettings:
        """Makes settings from a config's dict; a TypeError names unknown keys."""
        known = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(config, Mapping):
            raise TypeError(f"tiles must be a dict, got {config!r}")
        if unknown := sorted(set(config) - set(known)):
            raise TypeError(f"tiles has the unknown keys {unknown}; known are {known}")
        return cls(**config)

    def corners(self, image_wh: Sequence[int]) -> np.ndarray:
        """Returns the tiles of an image of (width, height), see `tile_corners`."""
        return tile_corners(image_wh, self.size, self.overlap)


def tile_corners(
    image_wh: Sequence[int], tile_wh: Sequence[int], overlap_wh: Sequence[int]
) -> np.ndarray:
    """Returns the tiles that cover an image.

    With the stride ``tile - overlap`` there are ``ceil((image - overlap) / stride)``
    tiles along a side, and at least one: where a side is not larger than the overlap,
    the released code fails, here one tile spans that side. The last tile is moved left
    and up, so that it has the full size. An image smaller than a tile gives one smaller
    tile.

    Args:
        image_wh: (width, height) of the image in pixels.
        tile_wh: (width, height) of a tile in pixels.
        overlap_wh: (width, height) that neighbours share at least.

    Returns:
        Int64 array of shape (tiles, 4), rows of (x1, y1, x2, y2), x2 and y2 exclusive,
        in row-major order.

    Raises:
        ValueError: A size is not positive, or the overlap not in [0, tile).
        TypeError: A size is no whole number.
    """
    image = _pair("image_wh", image_wh, minimum=1)
    pairs = _check_tile("tile_wh", tile_wh, "overlap_wh", overlap_wh)
    spans = []
    for side, length, shared in zip(image, *pairs, strict=True):
        count = max(1, -((shared - side) // (length - shared)))
        high = np.minimum(np.arange(count) * (length - shared) + length, side)
        spans.append(np.stack([(high - length).clip(0), high], 1).tolist())
    columns, rows = spans
    return np.array(
        [(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns], dtype=np.int64
    )


def _check_tile(
    name: str, tile: Sequence[int], name_of_overlap: str, overlap: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    sides = _pair(name, tile, minimum=1)
    shared = _pair(name_of_overlap, overlap, minimum=0)
    if shared[0] >= sides[0] or shared[1] >= sides[1]:
        raise ValueError(
            f"{name_of_overlap} must be smaller than {name} {sides}, got {shared}"
        )
    return sides, shared


def _pair(name: str, value: Sequence[int], minimum: int) -> tuple[int, int]:
    width, height = (check_int(name, v, minimum) for v in check_list(name, value, 2))
    return width, height
