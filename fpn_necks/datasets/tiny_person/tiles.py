"""Where the tiles of an image lie: integer arithmetic, no image is read."""

from __future__ import annotations

import dataclasses
import math
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
        fixed_size: Whether the last tile is moved left and up, so that it has the full
            size, instead of being cut at the border.
        use_least_pieces_size: Whether width and height of the tile are swapped where
            fewer tiles would cover the image if none overlapped. That is the released
            rule; with the overlap the count may be the other way round.

    Raises:
        ValueError: An argument is out of range; the message names it.
        TypeError: A size is no whole number.
    """

    size: tuple[int, int] = (640, 512)
    overlap: tuple[int, int] = (50, 50)
    keep: float = 0.7
    cut_boxes: str = "ignore"
    fixed_size: bool = True
    use_least_pieces_size: bool = False

    def __post_init__(self) -> None:
        names = "size", "overlap"
        pairs = _check_tile(names, self.size, self.overlap, self.use_least_pieces_size)
        for name, pair in zip(names, pairs, strict=True):
            object.__setattr__(self, name, pair)
        check_number("keep", self.keep, above=0, maximum=1)
        check_choice("cut_boxes", self.cut_boxes, ("ignore", "drop"))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TileSettings:
        """Makes settings from a config's dict; a TypeError names unknown keys."""
        known = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(config, Mapping):
            raise TypeError(
                f"tiles must be a dict with keys of {known}, got {config!r}"
            )
        unknown = sorted(set(config) - set(known))
        if unknown:
            raise TypeError(f"tiles has the unknown keys {unknown}; known are {known}")
        return cls(**config)

    def corners(self, image_wh: Sequence[int]) -> np.ndarray:
        """Returns the tiles of an image of (width, height), see `tile_corners`."""
        return tile_corners(
            image_wh,
            self.size,
            self.overlap,
            fixed_size=self.fixed_size,
            use_least_pieces_size=self.use_least_pieces_size,
        )


def tile_corners(
    image_wh: Sequence[int],
    tile_wh: Sequence[int],
    overlap_wh: Sequence[int],
    *,
    fixed_size: bool = True,
    use_least_pieces_size: bool = False,
) -> np.ndarray:
    """Returns the tiles that cover an image.

    With the stride ``tile - overlap`` there are ``ceil((image - overlap) / stride)``
    tiles along a side, and at least one: where a side is not larger than the overlap,
    the released code fails, here one tile spans that side. An image smaller than a tile
    gives one smaller tile.

    Args:
        image_wh: (width, height) of the image in pixels.
        tile_wh: (width, height) of a tile in pixels.
        overlap_wh: (width, height) that neighbours share at least.
        fixed_size: See `TileSettings`, as the next one.
        use_least_pieces_size: See `TileSettings`.

    Returns:
        Int64 array of shape (tiles, 4), rows of (x1, y1, x2, y2), x2 and y2 exclusive,
        in row-major order.

    Raises:
        ValueError: A size is not positive, or the overlap not in [0, tile).
        TypeError: A size is no whole number.
    """
    image = _pair("image_wh", image_wh, minimum=1)
    names = "tile_wh", "overlap_wh"
    tile, overlap = _check_tile(names, tile_wh, overlap_wh, use_least_pieces_size)
    if use_least_pieces_size:
        tile = min(tile, tile[::-1], key=lambda t: math.prod(_pieces(image, t, (0, 0))))
    spans = []
    for side, length, shared, count in zip(
        image, tile, overlap, _pieces(image, tile, overlap), strict=True
    ):
        low = np.arange(count) * (length - shared)
        high = np.minimum(low + length, side)
        if fixed_size:
            low = (high - length).clip(0)
        spans.append(np.stack([low, high], 1).tolist())
    columns, rows = spans
    return np.array(
        [(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns], dtype=np.int64
    )


def _pieces(
    image: Sequence[int], tile: Sequence[int], overlap: Sequence[int]
) -> list[int]:
    sides = zip(image, tile, overlap, strict=True)
    return [
        max(1, -((shared - side) // (length - shared)))
        for side, length, shared in sides
    ]


def _check_tile(
    names: tuple[str, str], tile: Sequence[int], overlap: Sequence[int], may_swap: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    sides, shared = (
        _pair(names[0], tile, minimum=1),
        _pair(names[1], overlap, minimum=0),
    )
    limit = (min(sides), min(sides)) if may_swap else sides
    if shared[0] >= limit[0] or shared[1] >= limit[1]:
        raise ValueError(
            f"{names[1]} must be smaller than {names[0]} {sides}"
            f"{', also with its sides swapped' if may_swap else ''}, got {shared}"
        )
    return sides, shared


def _pair(name: str, value: Sequence[int], minimum: int) -> tuple[int, int]:
    width, height = (check_int(name, v, minimum) for v in check_list(name, value, 2))
    return width, height
