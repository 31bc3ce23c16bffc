"""Cuts COCO annotations into tiles; no image is read or written."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from fpn_necks.coco_files import annotations_by_image, dense_files

from .masks import cut_mask, with_box
from .tiles import TileSettings


@dataclass
class TileCounts:
    """What was cut, counted.

    Attributes:
        images: Source images.
        tiles: Tiles made of them.
        tiles_without_boxes: Tiles that no box fell into, not even as ignored.
        boxes: Boxes of the source.
        kept: Boxes written to tiles as they were or clipped; a box that lies in
            several tiles counts in each.
        clipped: Boxes among `kept` that the tile's border clips.
        ignored: Boxes cut below the share to keep and written as ignored.
        dropped: Boxes cut below the share to keep and left out.
        lost: Boxes of the source that no tile keeps.
        empty: Boxes without extent or outside their image; in no tile.
    """

    images: int = 0
    tiles: int = 0
    tiles_without_boxes: int = 0
    boxes: int = 0
    kept: int = 0
    clipped: int = 0
    ignored: int = 0
    dropped: int = 0
    lost: int = 0
    empty: int = 0

    def __str__(self) -> str:
        return (
            f"{self.images:,} images became {self.tiles:,} tiles, "
            f"{self.tiles_without_boxes:,} of them without boxes\n"
            f"{self.boxes:,} boxes became {self.kept:,} kept ones "
            f"({self.clipped:,} clipped at a border), {self.ignored:,} ignored parts; "
            f"{self.dropped:,} parts were dropped\n"
            f"{self.lost:,} boxes are kept in no tile; {self.empty:,} have no extent "
            "or lie outside their image"
        )


def cut_boxes(
    boxes: np.ndarray, corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips boxes to tiles and shifts them.

    Args:
        boxes: (n, 4) of (x, y, width, height) in the image's pixels.
        corners: (tiles, 4) of (x1, y1, x2, y2), see `tile_corners`.

    Returns:
        The visible parts (x, y, width, height) in the tiles' pixels, float32; their
        sqrt(area) relative to that of the whole box, 0 for boxes without extent; and
        whether a part is missing. Of shapes (tiles, n[, 4]).
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    low, sides = boxes[:, :2], boxes[:, 2:]
    tile_low, tile_high = corners[:, None, :2], corners[:, None, 2:]
    clipped_low = np.maximum(low, tile_low)
    clipped_high = np.minimum(low + sides, tile_high)
    visible = np.clip(clipped_high - clipped_low, 0, None)
    has_extent = (sides > 0).all(-1)
    area = np.where(has_extent, sides.prod(-1), 1.0)
    share = np.where(has_extent, np.sqrt(visible.prod(-1)) / np.sqrt(area), 0.0)
    parts = np.concatenate([clipped_low - tile_low, visible], -1).astype(np.float32)
    is_clipped = (clipped_low > low).any(-1) | (clipped_high < low + sides).any(-1)
    return parts, share, is_clipped


def tile_coco(
    coco: Mapping[str, Any], settings: TileSettings, *, progress: bool = False
) -> tuple[dict[str, Any], TileCounts]:
    """Cuts a checked COCO dict into tiles.

    A tile is an image entry with the ``file_name`` of its source, ``corner``
    [x1, y1, x2, y2] and its own ``width`` and ``height``. Image ids count from 0 in
    the order of the file, tiles of an image side by side. Annotation ids count from 1,
    because COCO's evaluation takes a match with id 0 for none; the released code
    counts from 0. Boxes are clipped, shifted and float32, with ``area``, ``size``
    (sqrt of the area) and a box-shaped ``segmentation`` of that box. Polygons of
    another shape and run lengths are clipped as well, and give the area. Other fields
    are copied. A box that is part of several tiles is written to each. A box that
    sticks out of the image has its whole area as reference, as in the released code.

    Args:
        coco: A dict that `check_coco` has seen; it is not changed.
        settings: How to cut.
        progress: Whether to show a progress bar.

    Returns:
        The COCO dict of tiles, the source's images under ``old_images``, and counts.

    Raises:
        ValueError: `coco` already consists of tiles, or names a file twice.
    """
    files = Counter(image["file_name"] for image in coco["images"])
    for image in coco["images"]:
        if "corner" in image:
            raise ValueError(
                f"image {image['id']} has a 'corner': the annotations are cut already"
            )
        if files[image["file_name"]] > 1:  # tiles find their image by its file
            raise ValueError(f"file {image['file_name']!r} belongs to two images")
    annotations = annotations_by_image(coco)
    dense = dense_files(coco)
    counts = TileCounts()
    images: list[dict[str, Any]] = []
    cut_annotations: list[dict[str, Any]] = []
    for image in tqdm(coco["images"], "cutting", unit="image", disable=not progress):
        own = annotations.get(image["id"], [])
        corners = settings.corners((image["width"], image["height"]))
        counts.images += 1
        counts.tiles += len(corners)
        written = _cut_image(own, corners, settings, counts)
        for corner, in_tile in zip(corners.tolist(), written, strict=True):
            counts.tiles_without_boxes += not in_tile
            tile = image | {
                "id": len(images),
                "width": corner[2] - corner[0],
                "height": corner[3] - corner[1],
                "corner": corner,
            }
            if image["file_name"] in dense:
                tile["in_dense_image"] = True
            images.append(tile)
            for annotation in in_tile:
                annotation["id"] = len(cut_annotations) + 1
                annotation["image_id"] = tile["id"]
                cut_annotations.append(annotation)
    tiled = dict(coco) | {
        "images": images,
        "annotations": cut_annotations,
        "old_images": coco["images"],
    }
    return tiled, counts


def _cut_image(
    annotations: list[dict[str, Any]],
    corners: np.ndarray,
    settings: TileSettings,
    counts: TileCounts,
) -> Iterator[list[dict[str, Any]]]:
    """Yields the annotations of each tile, without ids."""
    parts, share, is_clipped = cut_boxes([a["bbox"] for a in annotations], corners)
    kept = share >= settings.keep
    partly = (share > 0) & ~kept
    ignored = partly & (settings.cut_boxes == "ignore")
    counts.boxes += len(annotations)
    counts.kept += int(kept.sum())
    counts.clipped += int((kept & is_clipped).sum())
    counts.ignored += int(ignored.sum())
    counts.dropped += int((partly & ~ignored).sum())
    counts.empty += int((share == 0).all(0).sum())
    counts.lost += int((~kept.any(0) & (share > 0).any(0)).sum())
    for tile, corner in enumerate(corners.tolist()):
        cut = functools.partial(cut_mask, corner=corner)
        yield [
            with_box(annotations[k], parts[tile, k].tolist(), cut)
            | (dict(ignore=True) if ignored[tile, k] else {})
            for k in np.flatnonzero(kept[tile] | ignored[tile])
        ]
