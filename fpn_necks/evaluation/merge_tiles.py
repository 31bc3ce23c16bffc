"""Detections on tiles become detections on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .annotations import DetectionTable, read_detections
from .json_fields import Json, column, look_up, unique_ids

# Pairs of boxes that are compared at once.
_BLOCK = 4_000_000


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
    table = read_detections(detections)
    return merge_table(table, tiles, images, nms_threshold, per_class).records()


def merge_table(
    table: DetectionTable,
    tiles: Json,
    images: Sequence[Mapping[str, Any]],
    nms_threshold: float | None = 0.5,
    per_class: bool = False,
    left_out: frozenset[Any] = frozenset(),
) -> DetectionTable:
    """Do the same as ``merge_tiles`` on arrays.

    Images whose ids are in ``left_out`` need not have tiles.
    """
    if nms_threshold is not None and not 0 < nms_threshold <= 1:
        raise ValueError(f"nms_threshold must be in (0, 1] or None: {nms_threshold!r}")
    tile_ids, tile_images, corners = _read_tiles(tiles, images, left_out)
    tile = look_up(table.image_ids, tile_ids, "detection", "tile", "the tile file")
    image = tile_images[tile]
    order = np.lexsort((tile, image))  # stable: file order within a tile
    image = image[order]
    boxes, scores = table.boxes[order], table.scores[order]
    categories = [table.category_ids[i] for i in order]
    corner = corners[tile[order]]
    x1y1 = boxes[:, :2] + corner
    x2y2 = boxes[:, :2] + boxes[:, 2:] + corner
    if nms_threshold is None:
        kept = np.arange(len(scores))
    else:
        x1y1, x2y2 = x1y1.astype(np.float32), x2y2.astype(np.float32)
        classes = np.unique(categories, return_inverse=True)[1] if per_class else None
        kept = _suppress_per_image(x1y1, x2y2, scores, image, classes, nms_threshold)
    ids = column(images, "id", "image")
    merged = np.concatenate([x1y1, x2y2 - x1y1], 1)[kept]
    return DetectionTable(
        [ids[i] for i in image[kept].tolist()],
        [categories[i] for i in kept.tolist()],
        merged.astype(np.float64),
        scores[kept],
    )


def _read_tiles(
    tiles: Json, images: Sequence[Mapping[str, Any]], left_out: frozenset[Any]
) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Return ids, index of the image and (x1, y1) of every tile."""
    if not isinstance(tiles, Mapping) or "images" not in tiles:
        raise ValueError("the tile file must be COCO annotations with 'images'")
    records = tiles["images"]
    tile_ids = unique_ids(column(records, "id", "tile"), "tile")
    names = unique_ids(column(images, "file_name", "image"), "image file_name, as")
    owners = column(records, "file_name", "tile")
    places = look_up(owners, names, "tile", "image", "the ground truth")
    needed = {image["file_name"] for image in images if image["id"] not in left_out}
    missing = sorted(needed - set(owners))
    if missing:
        raise ValueError(
            f"image {missing[0]!r} has no tile ({len(missing)} such images): nothing "
            "can be found there"
        )
    corners = column(records, "corner", "tile")
    try:
        origins = np.array(corners, dtype=np.float64).reshape(-1, 4)[:, :2]
    except (OverflowError, TypeError, ValueError):
        raise ValueError("the corner of every tile must be 4 numbers") from None
    if not np.isfinite(origins).all():
        raise ValueError("the corner of every tile must be finite")
    return tile_ids, places, origins


def _suppress_per_image(
    x1y1: np.ndarray,
    x2y2: np.ndarray,
    scores: np.ndarray,
    image: np.ndarray,
    classes: np.ndarray | None,
    threshold: float,
) -> np.ndarray:
    """Return the indices of the survivors, rising."""
    _, starts = np.unique(image, return_index=True)
    kept = [
        rows[
            _survivors(
                x1y1[rows],
                x2y2[rows],
                scores[rows],
                None if classes is None else classes[rows],
                threshold,
            )
        ]
        for rows in np.split(np.arange(len(scores)), starts[1:])
    ]
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)


def _survivors(
    x1y1: np.ndarray,
    x2y2: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray | None,
    threshold: float,
) -> np.ndarray:
    """Return which boxes of one image survive, ``(n,)`` bool."""
    order = np.argsort(-scores, kind="stable")
    x1, y1 = x1y1[order].T
    x2, y2 = x2y2[order].T
    one = np.float32(1)
    areas = (x2 - x1 + one) * (y2 - y1 + one)
    count = len(order)
    alive = np.ones(count, dtype=bool)
    step = max(1, _BLOCK // max(1, count))
    for first in range(0, count, step):
        rows = slice(first, min(count, first + step))
        width = np.minimum(x2[rows, None], x2) - np.maximum(x1[rows, None], x1) + one
        height = np.minimum(y2[rows, None], y2) - np.maximum(y1[rows, None], y1) + one
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[rows, None] + areas - shared
        doubles = shared / union >= threshold
        if classes is not None:
            doubles &= classes[order[rows], None] == classes[order]
        doubles &= np.arange(count) > np.arange(rows.start, rows.stop)[:, None]
        for row in doubles.any(1).nonzero()[0]:
            if alive[first + row]:
                alive &= ~doubles[row]
    result = np.zeros(count, dtype=bool)
    result[order] = alive
    return result
