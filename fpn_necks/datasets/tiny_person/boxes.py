"""COCO annotations with another box: cut to a tile, or scaled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# These hold coordinates that are not moved, and no detector of boxes reads them.
_LEFT_OUT = ("keypoints", "num_keypoints", "vis_bbox")


def box_polygon(box: Sequence[float]) -> list[list[float]]:
    """Returns the segmentation of a box (x, y, width, height), as TinyPerson has it."""
    x, y, width, height = box
    right, bottom = x + width, y + height
    return [[x, y, x, bottom, right, bottom, right, y]]


def with_box(annotation: Mapping[str, Any], box: Sequence[float]) -> dict[str, Any]:
    """Returns an annotation with another box, and its area, size and segmentation.

    Args:
        annotation: It is not changed. A mask that says more than its box is replaced.
        box: (x, y, width, height).
    """
    kept = {k: v for k, v in annotation.items() if k not in _LEFT_OUT}
    area = box[2] * box[3]
    size = math.sqrt(max(0.0, area))
    return kept | dict(bbox=box, area=area, size=size, segmentation=box_polygon(box))
