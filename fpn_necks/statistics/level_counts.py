"""How many objects each pyramid level is responsible for.

Plain numpy and torch on boxes and anchor generators: no network runs, no image is
loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# IoUs closer than this count as equal, and the first anchor in order wins.
IOU_TOLERANCE = 1e-12
PIXEL_TOLERANCE = 1e-10

# Boxes handled at once: their temporaries stay in the processor's cache.
CHUNK = 1 << 14


def count_best_levels(
    boxes: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    anchor_generator: Any,
    distinct: bool = False,
) -> Tensor:
    """Count the objects whose best anchor lies on each level (S-α paper, Alg. 1).

    Boxes whose IoU with every anchor is 0 (no area, outside the grid) are not counted;
    a warning says how many there are.

    Args:
        boxes: per image the ground truths, ``(n, 4)`` float, (x1, y1, x2, y2) in pixels
            of the network's input.
        image_shapes: per image the padded (height, width) of the network's input.
        anchor_generator: an mmdet ``AnchorGenerator``.
        distinct: count an anchor that is the best of several boxes of an image once,
            as the code released with the paper does.

    Returns:
        int64 counts, one per level of the generator.

    Raises:
        ValueError: lengths do not fit, a box is not finite, or a shape not positive.
    """
    per_image = best_anchors(boxes, image_shapes, anchor_generator)
    found = torch.cat([torch.zeros(0, 2, dtype=torch.int64), *per_image])
    lengths = torch.tensor([len(x) for x in boxes], dtype=torch.int64)
    image = torch.arange(len(boxes)).repeat_interleave(lengths)
    overlaps = found[:, 0] >= 0
    if not overlaps.all():
        warnings.warn(
            f"{int((~overlaps).sum())} of {len(found)} boxes overlap no anchor and are "
            "not counted (they have no area or lie outside the image)",
            stacklevel=2,
        )
    rows = torch.column_stack([image, found])[overlaps]
    if distinct:
        rows = rows.unique(dim=0)
    return torch.bincount(rows[:, 1], minlength=anchor_generator.num_levels)


def best_anchors(
    boxes: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    anchor_generator: Any,
) -> list[Tensor]:
    """Find each box's anchor of highest IoU; -1 where every IoU is 0.

    Of all anchors of one shape on one level the one whose centre is nearest to the
    box's centre has the highest IoU, because the overlap is a product of two terms that
    fall with the distance in x and in y. So one candidate per level and shape is enough
    and memory is proportional to the number of boxes. IoU is computed in float64;
    values within 1e-12 count as equal, and of equal ones the first in the order of
    levels, cells and anchors of a cell wins.

    Args and errors are those of ``count_best_levels``.

    Returns:
        per image ``(n, 2)`` int64: the level, and the anchor's place on it, as
        ``grid_priors`` of the generator lists them.
    """
    flat, shapes = _flatten(boxes, image_shapes)
    result = np.full((len(flat), 2), -1, dtype=np.int64)
    # numpy, because torch starts its threads for arrays of this size and then waits for
    # them: many times slower than the work itself when the processor is shared.
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        columns = np.ascontiguousarray(flat[part].T)  # each is read many times
        sides = np.ascontiguousarray(shapes[part].T)
        best = np.zeros(columns.shape[1])
        level, place_on_level = result[part].T
        for number, (anchors, stride) in enumerate(
            zip(anchor_generator.base_anchors, anchor_generator.strides, strict=True)
        ):
            anchors = anchors.double().numpy()
            for iou, place in nearest_ious(columns, sides, anchors, stride):
                better = iou > best + IOU_TOLERANCE
                earlier = (level == number) & (place < place_on_level)
                better |= earlier & (iou >= best - IOU_TOLERANCE)
                np.copyto(best, np.maximum(iou, best), where=better)
                level[better] = number
                place_on_level[better] = place[better]
    return list(torch.from_numpy(result).split([len(x) for x in boxes]))


def count_regress_range_levels(
    boxes: Iterable[Tensor], regress_ranges: Sequence[tuple[float, float]]
) -> Tensor:
    """Count objects per level for FCOS, by the regress range that holds their size.

    At a box's centre max(l, t, r, b) is half its longer side. Ranges are closed, as in
    FCOS; where two meet the first wins.

    Args:
        boxes: per image ``(n, 4)``, (x1, y1, x2, y2) in pixels of the network's input.
        regress_ranges: per level (lower, upper) in pixels.

    Returns:
        int64 counts, one per level. A box in no range is not counted, with a warning.
    """
    flat = torch.cat([torch.zeros(0, 4), *boxes]).double()
    half_sides = (flat[:, 2:] - flat[:, :2]).amax(1) / 2
    ranges = torch.tensor(regress_ranges, dtype=torch.float64)
    inside = (half_sides >= ranges[:, :1]) & (half_sides <= ranges[:, 1:])  # (L, n)
    if outside := int((~inside.any(0)).sum()):
        warnings.warn(
            f"{outside} of {len(flat)} boxes lie in no regress range and are not "
            "counted",
            stacklevel=2,
        )
    return (inside & (inside.cumsum(0) == 1)).sum(1)


def nearest_ious(
    columns: np.ndarray,
    sides: np.ndarray,
    anchors: np.ndarray,
    stride: tuple[float, float],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Find each box's best anchor of one shape, shape by shape.

    Args:
        columns: x1, y1, x2, y2 of the boxes, ``(4, n)`` float64.
        sides: height and width of each box's image, ``(2, n)``.
        anchors: one level's anchors at the first cell, ``(A, 4)`` float64.
        stride: of the level, (x, y).

    Yields:
        Per anchor shape, in the order of ``anchors``, the highest IoU ``(n,)`` and the
        place of the first anchor that has it among those of the level ``(n,)``.
    """
    x1, y1, x2, y2 = columns
    area = (x2 - x1) * (y2 - y1)
    # Cells stand at multiples of the stride, the last one inside the image.
    last_row = np.ceil(sides[0] / stride[1]) - 1
    last_column = np.ceil(sides[1] / stride[0]) - 1
    for number, (left, top, right, bottom) in enumerate(anchors):
        width, column = _nearest_overlap(x1, x2, left, right, stride[0], last_column)
        height, row = _nearest_overlap(y1, y2, top, bottom, stride[1], last_row)
        overlap = width * height
        place = (row * (last_column + 1) + column) * len(anchors) + number
        yield overlap / (area + ((right - left) * (bottom - top) - overlap)), place


def _nearest_overlap(
    low: np.ndarray,
    high: np.ndarray,
    anchor_low: float,
    anchor_high: float,
    stride: float,
    last_cell: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest overlap along one axis, ≥ 0, and the first cell with it.

    The overlap is constant where one interval contains the other and falls outside:
    it is largest at the first cell of that stretch, or at the cell before it.
    """
    cell = np.ceil(np.minimum(low - anchor_low, high - anchor_high) / stride)
    overlaps = []
    for candidate in (cell - 1, cell):
        np.clip(candidate, 0, last_cell, out=candidate)
        shift = candidate * stride
        overlap = np.minimum(high, shift + anchor_high)
        overlap -= np.maximum(low, shift + anchor_low)
        overlaps.append((np.maximum(overlap, 0, out=overlap), candidate))
    (before, first), (after, second) = overlaps
    is_first = before >= after - PIXEL_TOLERANCE
    return np.maximum(before, after), np.where(is_first, first, second)


def _flatten(
    boxes: Sequence[Tensor], image_shapes: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return all boxes (N, 4) and the shapes of their images (N, 2)."""
    if len(boxes) != len(image_shapes):
        raise ValueError(
            f"boxes and image_shapes must have one entry per image, got {len(boxes)} "
            f"and {len(image_shapes)}"
        )
    shapes = np.array(image_shapes, dtype=np.float64).reshape(-1, 2)
    flat = torch.cat([torch.zeros(0, 4), *boxes]).double().numpy()
    if (shapes <= 0).any() or not np.isfinite(flat).all():
        raise ValueError(
            "boxes must be finite, and image_shapes (height, width) above 0"
        )
    return flat, shapes.repeat([len(x) for x in boxes], axis=0)
