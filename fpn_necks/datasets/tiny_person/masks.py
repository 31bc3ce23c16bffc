"""Masks of COCO annotations (polygons and run lengths), cut to tiles and scaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

# These hold coordinates that are not moved, and no detector of boxes reads them.
_LEFT_OUT = ("keypoints", "num_keypoints", "vis_bbox")
# Pixels by which the corners of a box-shaped polygon may miss those of its box.
_TOLERANCE = 0.5


def box_polygon(box: Sequence[float]) -> list[list[float]]:
    """Returns the segmentation of a box (x, y, width, height), as TinyPerson has it."""
    x, y, width, height = box
    right, bottom = x + width, y + height
    return [[x, y, x, bottom, right, bottom, right, y]]


def with_box(
    annotation: Mapping[str, Any],
    box: Sequence[float],
    change: Callable[[Any], tuple[Any, float]],
) -> dict[str, Any]:
    """Returns an annotation with another box; area, size and segmentation follow.

    Args:
        annotation: It is not changed.
        box: (x, y, width, height).
        change: Turns a mask that says more than the box into another and its area.
    """
    segmentation, area = box_polygon(box), box[2] * box[3]
    if _has_mask(annotation):
        segmentation, area = change(annotation["segmentation"])
    kept = {k: v for k, v in annotation.items() if k not in _LEFT_OUT}
    size = float(np.sqrt(max(0.0, area)))
    return kept | dict(bbox=box, area=area, size=size, segmentation=segmentation)


def _has_mask(annotation: Mapping[str, Any]) -> bool:
    """Returns whether there is a segmentation that says more than the box."""
    segmentation = annotation.get("segmentation")
    if not isinstance(segmentation, list) or len(segmentation) != 1:
        return bool(segmentation)
    points = np.array(segmentation[0], dtype=np.float64).reshape(-1, 2)
    x, y, width, height = annotation["bbox"]
    corners = np.array(
        [(x, y), (x, y + height), (x + width, y + height), (x + width, y)]
    )
    near = (abs(points[:, None] - corners) <= _TOLERANCE).all(-1)
    return not (len(points) <= 5 and near.any(0).all() and near.any(1).all())


def cut_mask(segmentation: Any, corner: Sequence[int]) -> tuple[Any, float]:
    """Returns the part of a mask inside a tile, in its pixels, and the part's area.

    Args:
        segmentation: Polygons, or run lengths of the whole image.
        corner: (x1, y1, x2, y2) of the tile.
    """
    x1, y1, x2, y2 = corner
    if isinstance(segmentation, Mapping):
        mask = _decode(segmentation)[y1:y2, x1:x2]
        return _encode(mask), float(mask.sum())
    polygons = [_clipped(polygon, corner) for polygon in segmentation]
    polygons = [points - (x1, y1) for points in polygons if len(points) >= 3]
    return [points.ravel().tolist() for points in polygons], sum(map(_area, polygons))


def scale_mask(
    segmentation: Any, across: float, down: float, size: tuple[int, int]
) -> tuple[Any, float]:
    """Returns a mask scaled to an image of `size` (width, height), and its area."""
    if isinstance(segmentation, Mapping):
        mask = cv2.resize(_decode(segmentation), size, interpolation=cv2.INTER_NEAREST)
        return _encode(mask), float(mask.sum())
    polygons = [np.array(p).reshape(-1, 2) * (across, down) for p in segmentation]
    return [points.ravel().tolist() for points in polygons], sum(map(_area, polygons))


def _clipped(polygon: Sequence[float], corner: Sequence[int]) -> np.ndarray:
    """Sutherland and Hodgman: one side of the tile after the other."""
    points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    for side, limit in enumerate(corner):
        axis, sign = side % 2, 1 if side < 2 else -1
        inside = sign * (points[:, axis] - limit) >= 0
        kept = []
        for k, end in enumerate(points):
            start = points[k - 1]
            if inside[k] != inside[k - 1]:
                share = (limit - start[axis]) / (end[axis] - start[axis])
                kept.append(start + share * (end - start))
            if inside[k]:
                kept.append(end)
        points = np.array(kept).reshape(-1, 2)
    return points


def _area(points: np.ndarray) -> float:
    x, y = points.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _decode(mask: Mapping[str, Any]) -> np.ndarray:
    from pycocotools.mask import decode, frPyObjects

    if isinstance(mask["counts"], list):
        mask = frPyObjects(mask, *mask["size"])
    return decode(mask)


def _encode(mask: np.ndarray) -> dict[str, Any]:
    from pycocotools.mask import encode

    encoded = encode(np.asfortranarray(mask))
    return {
        "size": [int(side) for side in encoded["size"]],
        "counts": encoded["counts"].decode("ascii"),
    }
