"""Where the tiles of an image lie: integer arithmetic, no image is read."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CUT_BOXES = ("ignore", "drop")


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
        size, overlap = _check_tile(
            self.size, self.overlap, self.use_least_pieces_size, "size", "overlap"
        )
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "overlap", overlap)
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must lie in (0, 1], got {self.keep}")
        if self.cut_boxes not in CUT_BOXES:
            raise ValueError(
                f"cut_boxes must be one of {CUT_BOXES}, got {self.cut_boxes!r}"
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TileSettings:
        """Makes settings from a config's dict.

        Raises:
            TypeError: `config` is no mapping or has an unknown key.
            ValueError: A value is out of range.
        """
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
    tile_wh: Sequence[int] | None,
    overlap_wh: Sequence[int],
    *,
    fixed_size: bool = True,
    use_least_pieces_size: bool = False,
    pieces_wh: Sequence[int] | None = None,
) -> np.ndarray:
    """Returns the tiles that cover an image.

    With the stride ``tile - overlap`` there are ``ceil((image - overlap) / stride)``
    tiles along a side, and at least one: where a side is not larger than the overlap,
    the released code fails, here one tile spans that side. An image smaller than a tile
    gives one smaller tile.

    Args:
        image_wh: (width, height) of the image in pixels.
        tile_wh: (width, height) of a tile in pixels; None with `pieces_wh`.
        overlap_wh: (width, height) that neighbours share at least.
        fixed_size: See `TileSettings`, as the next one.
        use_least_pieces_size: See `TileSettings`.
        pieces_wh: (columns, rows) of tiles, from which the size of a tile follows.

    Returns:
        Int64 array of shape (tiles, 4), rows of (x1, y1, x2, y2), x2 and y2 exclusive,
        in row-major order.

    Raises:
        ValueError: A size is not positive, the overlap not in [0, tile), or not
            exactly one of `tile_wh` and `pieces_wh` given.
        TypeError: A size is no whole number.
    """
    image = _whole_numbers("image_wh", image_wh, least=1)
    if (tile_wh is None) == (pieces_wh is None):
        raise ValueError(
            "exactly one of tile_wh and pieces_wh must be given, got "
            f"{tile_wh} and {pieces_wh}"
        )
    if pieces_wh is not None:
        tile_wh = _tile_of_pieces(image, pieces_wh, overlap_wh)
    tile, overlap = _check_tile(
        tile_wh, overlap_wh, use_least_pieces_size, "tile_wh", "overlap_wh"
    )
    if use_least_pieces_size:
        swapped = tile[::-1]
        if _count_without_overlap(image, swapped) < _count_without_overlap(image, tile):
            tile = swapped
    columns, rows = (
        _along_side(*side, fixed_size)
        for side in zip(image, tile, overlap, strict=True)
    )
    return np.array(
        [(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns], dtype=np.int64
    )


def _pieces(image: int, tile: int, overlap: int) -> int:
    return max(1, -((overlap - image) // (tile - overlap)))


def _count_without_overlap(image: tuple[int, int], tile: tuple[int, int]) -> int:
    columns, rows = map(_pieces, image, tile, (0, 0))
    return columns * rows


def _tile_of_pieces(
    image: tuple[int, int], pieces_wh: Sequence[int], overlap_wh: Sequence[int]
) -> tuple[int, int]:
    pieces = _whole_numbers("pieces_wh", pieces_wh, least=1)
    overlap = _whole_numbers("overlap_wh", overlap_wh, least=0)
    width, height = (
        -(-(side + (count - 1) * shared) // count)
        for side, count, shared in zip(image, pieces, overlap, strict=True)
    )
    return width, height


def _along_side(
    image: int, tile: int, overlap: int, fixed_size: bool
) -> list[tuple[int, int]]:
    spans = []
    for piece in range(_pieces(image, tile, overlap)):
        start = piece * (tile - overlap)
        end = min(start + tile, image)
        if fixed_size:
            start = max(0, end - tile)
        spans.append((start, end))
    return spans


def _whole_numbers(name: str, pair: Sequence[int], least: int) -> tuple[int, int]:
    try:
        first, second = map(operator.index, pair)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be (width, height) in whole pixels, got {pair!r}"
        ) from error
    if min(first, second) < least:
        raise ValueError(f"{name} must be at least {least}, got {(first, second)}")
    return first, second


def _check_tile(
    tile_wh: Sequence[int],
    overlap_wh: Sequence[int],
    may_swap: bool,
    tile_name: str,
    overlap_name: str,
) -> tuple[tuple[int, int], tuple[int, int]]:
    tile = _whole_numbers(tile_name, tile_wh, least=1)
    overlap = _whole_numbers(overlap_name, overlap_wh, least=0)
    limit = (min(tile), min(tile)) if may_swap else tile
    if overlap[0] >= limit[0] or overlap[1] >= limit[1]:
        raise ValueError(
            f"{overlap_name} must be smaller than {tile_name} {tile}"
            f"{', also with its sides swapped' if may_swap else ''}, got {overlap}"
        )
    return tile, overlap
