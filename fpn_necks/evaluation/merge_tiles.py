"""Detections on tiles become detections on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..coco_files import checked_coco
from ..layers.arguments import check_number
from .boxes import Detections
from .matching import order_positions


def merge_tiles(
    detections: Sequence[Mapping[str, Any]],
    tiles: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]],
    nms_threshold: float | None = 0.5,
    per_class: bool = False,
) -> list[dict[str, Any]]:
    """Shift detections from tiles to whole images and remove doubles.

    The rules of the released code: per image the tiles are collected in file order;
    greedy NMS on float32 boxes whose widths are x2 - x1 + 1; a box is suppressed at an
    IoU of the threshold or more; what survives stays in the order of collection. Of
    equal scores the first counts as higher.

    Args:
        detections: COCO results, boxes (x, y, width, height) in pixels of the tile.
        tiles: COCO annotations whose images carry ``corner`` (x1, y1, x2, y2), the
            tile's place in the image of the same ``file_name``.
        images: the whole images, with ``id`` and ``file_name``.
        nms_threshold: IoU in (0, 1], or ``None`` to keep all; the boxes then stay
            float64.
        per_class: suppress within a category only.

    Returns:
        COCO results, boxes in pixels of the whole image.

    Raises:
        ValueError: a field is missing or wrong, a tile belongs to no image or an image
            has no tile, or a detection belongs to no tile.
    """
    table = Detections.read(detections)
    tiles = checked_coco(tiles, "the tile file")
    images = checked_coco(dict(images=images), "the ground truth")["images"]
    return merge_detections(table, tiles, images, nms_threshold, per_class).records()


def merge_detections(
    table: Detections,
    tiles: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]],
    nms_threshold: float | None = 0.5,
    per_class: bool = False,
    left_out: frozenset[Any] = frozenset(),
) -> Detections:
    """Do the same as ``merge_tiles``; images in ``left_out`` need no tiles."""
    if nms_threshold is not None:
        check_number("the NMS threshold", nms_threshold, above=0, maximum=1)
    tile_ids, tile_images, corners = _read_tiles(tiles, images, left_out)
    tile = table.places("tile", tile_ids, "the tile file")
    image = tile_images[tile]
    order = np.lexsort((tile, image))  # stable: file order within a tile
    image, categories = image[order], table.categories[order]
    boxes, scores = table.boxes[order].astype(np.float64), table.scores[order]
    x1y1 = boxes[:, :2] + corners[tile[order]]
    x2y2 = boxes[:, :2] + boxes[:, 2:] + corners[tile[order]]
    if nms_threshold is None:
        kept = np.arange(len(scores))
    else:
        x1y1, x2y2 = x1y1.astype(np.float32), x2y2.astype(np.float32)
        # Boxes of different sets never suppress each other.
        sets = image
        if per_class:
            sets = image * len(table.category_ids) + categories
        kept = _survivors(x1y1, x2y2, scores, sets, nms_threshold)
    return Detections(
        [entry["id"] for entry in images],
        image[kept],
        table.category_ids,
        categories[kept],
        np.concatenate([x1y1, x2y2 - x1y1], 1)[kept].astype(np.float64),
        scores[kept],
    )


def _read_tiles(
    tiles: Any, images: Sequence[Mapping[str, Any]], left_out: frozenset[Any]
) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Return ids, index of the image and (x1, y1) of every tile."""
    names = {entry.get("file_name"): place for place, entry in enumerate(images)}
    for entry in tiles["images"]:
        if entry.get("file_name") not in names or "corner" not in entry:
            raise ValueError(
                f"tile {entry['id']!r} must have a 'corner' and the 'file_name' of an "
                f"image of the ground truth, got {entry.get('file_name')!r}"
            )
    places = [names[entry.get("file_name")] for entry in tiles["images"]]
    needed = {p for p, entry in enumerate(images) if entry["id"] not in left_out}
    missing = sorted(needed - set(places))
    if missing:
        raise ValueError(
            f"{len(missing)} images have no tile, such as "
            f"{images[missing[0]].get('file_name')!r}: nothing can be found there"
        )
    corners = np.array([entry["corner"] for entry in tiles["images"]], dtype=np.float64)
    ids = [entry["id"] for entry in tiles["images"]]
    return ids, np.array(places, dtype=np.int64), corners.reshape(-1, 4)[:, :2]


def _survivors(
    x1y1: np.ndarray,
    x2y2: np.ndarray,
    scores: np.ndarray,
    sets: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """Return the indices of the boxes that greedy NMS keeps, rising."""
    rank = order_positions(-scores)
    one, other = (rank[rows] for rows in _doubles(x1y1, x2y2, sets, threshold))
    better, worse = np.minimum(one, other), np.maximum(one, other)
    # A box that no undecided better one suppresses is kept; what it suppresses is
    # decided too. The same survivors as one by one.
    alive = np.ones(len(scores), dtype=bool)
    while len(better):
        waiting = np.zeros(len(scores), dtype=bool)
        waiting[worse] = True
        waits = waiting[better]
        alive[worse[~waits]] = False
        left = waits & alive[better] & alive[worse]
        better, worse = better[left], worse[left]
    return np.flatnonzero(alive[rank])


def _doubles(
    x1y1: np.ndarray, x2y2: np.ndarray, sets: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of a set whose IoU, widths x2 - x1 + 1, is so high.

    Sorted by their left sides, only neighbours can overlap so much: the pairs of every
    box with the next one are compared, then those with the one after that, as far as
    it reaches. The IoU is at most the share of a box's side that both have in common,
    so a box reaches no further than 1 - threshold of its width.
    """
    one = np.float32(1)
    # One number for set and left side, with room between the sets.
    left = x1y1[:, 0].astype(np.float64)
    farthest = np.abs(x1y1).max(initial=0) + (x2y2 - x1y1).max(initial=0)
    left += sets * (2 * (farthest + 2))
    order = np.argsort(left, kind="stable")
    left = left[order]
    (x1, y1), (x2, y2) = x1y1[order].T.copy(), x2y2[order].T.copy()
    widths, heights = x2 - x1 + one, y2 - y1 + one
    areas = widths * heights
    # What is far from the threshold is left out, with a margin for rounding.
    ends = np.searchsorted(left, left + (1.001 - threshold) * widths + 0.01, "right")
    least = heights * np.float32(0.999 * threshold)
    reach = ends - np.arange(len(order))
    rows, step = np.flatnonzero(reach > 1), 0
    found = [(rows[:0], rows[:0])]
    while len(rows):
        step += 1
        j = rows + step
        height = np.minimum(y2[rows], y2[j]) - np.maximum(y1[rows], y1[j]) + one
        meets = height >= least[rows]
        i, height = rows[meets], height[meets]
        j = i + step
        width = np.minimum(x2[i], x2[j]) - np.maximum(x1[i], x1[j]) + one
        shared = np.maximum(width, 0) * height
        double = shared / (areas[i] + areas[j] - shared) >= threshold
        found.append((order[i[double]], order[j[double]]))
        rows = rows[reach[rows] > step + 1]
    one, other = map(np.concatenate, zip(*found, strict=True))
    return one, other
