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

# IoUs closer than this count as equal, and the first level in order wins.
IOU_TOLERANCE = 1e-12

# Boxes handled at once: their temporaries stay in the processor's cache.
CHUNK = 1 << 14


def count_best_levels(
    boxes: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    anchor_generator: Any,
) -> Tensor:
    """Count the objects whose best anchor lies on each level (S-α paper, Alg. 1).

    Boxes whose IoU with every anchor is 0 (no area, outside the grid) are not counted;
    a warning says how many there are.

    Args:
        boxes: per image the ground truths, ``(n, 4)`` float, (x1, y1, x2, y2) in pixels
            of the network's input.
        image_shapes: per image the padded (height, width) of the network's input.
        anchor_generator: an mmdet ``AnchorGenerator``.

    Returns:
        int64 counts, one per level of the generator.

    Raises:
        TypeError: ``anchor_generator`` has no anchors, or boxes are no tensors.
        ValueError: lengths or shapes do not fit, or a box is not finite.
    """
    per_image = best_levels(boxes, image_shapes, anchor_generator)
    levels = torch.cat([torch.zeros(0, dtype=torch.int64), *per_image])
    without_level = int((levels < 0).sum())
    if without_level:
        warnings.warn(
            f"{without_level} of {len(levels)} boxes overlap no anchor and are not "
            "counted (they have no area or lie outside the image)",
            stacklevel=2,
        )
    return torch.bincount(levels[levels >= 0], minlength=anchor_generator.num_levels)


def best_levels(
    boxes: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    anchor_generator: Any,
) -> list[Tensor]:
    """Find the level of each box's anchor of highest IoU; -1 where every IoU is 0.

    Of all anchors of one shape on one level the one whose centre is nearest to the
    box's centre has the highest IoU, because the overlap is a product of two terms that
    fall with the distance in x and in y. So one candidate per level and shape is enough
    and memory is proportional to the number of boxes. IoU is computed in float64;
    values within 1e-12 count as equal and the first level wins.

    Args and errors are those of ``count_best_levels``.

    Returns:
        per image, ``(n,)`` int64 level indices.
    """
    check_anchor_generator(anchor_generator)
    flat, shapes, sizes = _flatten(boxes, image_shapes)
    base_anchors = [
        anchors.double().numpy() for anchors in anchor_generator.base_anchors
    ]
    strides = [tuple(map(float, stride)) for stride in anchor_generator.strides]
    levels = np.empty(len(flat), dtype=np.int64)
    # numpy, because torch starts its threads for arrays of this size and then waits for
    # them: many times slower than the work itself when the processor is shared.
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        columns = np.ascontiguousarray(flat[part].T)  # each is read many times
        sides = np.ascontiguousarray(shapes[part].T)
        ious = np.stack(
            [
                np.maximum.reduce(list(nearest_ious(columns, sides, anchors, stride)))
                for anchors, stride in zip(base_anchors, strides, strict=True)
            ]
        )  # (L, n)
        best = ious.max(0)
        first = (ious >= best - IOU_TOLERANCE).argmax(0)
        levels[part] = np.where(best > 0, first, -1)
    return list(torch.from_numpy(levels).split(sizes))


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
        int64 counts, one per level. A box in no range is not counted.
    """
    flat = torch.cat([torch.zeros(0, 4), *boxes]).double()
    half_sides = (flat[:, 2:] - flat[:, :2]).amax(1) / 2
    ranges = torch.tensor(regress_ranges, dtype=torch.float64)
    inside = (half_sides >= ranges[:, :1]) & (half_sides <= ranges[:, 1:])  # (L, n)
    first = inside & (inside.cumsum(0) == 1)
    return first.sum(1)


def nearest_ious(
    columns: np.ndarray,
    sides: np.ndarray,
    anchors: np.ndarray,
    stride: tuple[float, float],
) -> Iterator[np.ndarray]:
    """Give each box's highest IoU with the anchors of one shape, shape by shape.

    Args:
        columns: x1, y1, x2, y2 of the boxes, ``(4, n)`` float64.
        sides: height and width of each box's image, ``(2, n)``.
        anchors: one level's anchors at the first cell, ``(A, 4)`` float64.
        stride: of the level, (x, y).

    Yields:
        ``(n,)`` per anchor shape, in the order of ``anchors``.
    """
    x1, y1, x2, y2 = columns
    area = (x2 - x1) * (y2 - y1)
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    # Cells stand at multiples of the stride, the last one inside the image.
    last_row = np.ceil(sides[0] / stride[1]) - 1
    last_column = np.ceil(sides[1] / stride[0]) - 1
    for left, top, right, bottom in anchors:
        width = _nearest_overlap(x1, x2, centre_x, left, right, stride[0], last_column)
        height = _nearest_overlap(y1, y2, centre_y, top, bottom, stride[1], last_row)
        overlap = width * height
        yield overlap / (area + ((right - left) * (bottom - top) - overlap))


def _nearest_overlap(
    low: np.ndarray,
    high: np.ndarray,
    centre: np.ndarray,
    anchor_low: float,
    anchor_high: float,
    stride: float,
    last_cell: np.ndarray,
) -> np.ndarray:
    """Return the overlap with the nearest anchor along one axis, ``(n,)``, ≥ 0."""
    cell = np.rint((centre - (anchor_low + anchor_high) / 2) / stride)
    shift = np.clip(cell, 0, last_cell, out=cell)
    shift *= stride
    overlap = np.minimum(high, shift + anchor_high)
    overlap -= np.maximum(low, shift + anchor_low)
    return np.maximum(overlap, 0, out=overlap)


def check_anchor_generator(anchor_generator: Any) -> None:
    """Raise a TypeError if the generator has no anchors."""
    if not hasattr(anchor_generator, "base_anchors"):
        raise TypeError(
            "anchor_generator must be an mmdet AnchorGenerator, got "
            f"{type(anchor_generator).__name__}, which has no anchors"
        )


def _flatten(
    boxes: Sequence[Tensor], image_shapes: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return all boxes (N, 4), their image's shape (N, 2) and the boxes per image."""
    if len(boxes) != len(image_shapes):
        raise ValueError(
            f"boxes and image_shapes must have one entry per image, got {len(boxes)} "
            f"and {len(image_shapes)}"
        )
    for i, image_boxes in enumerate(boxes):
        if not isinstance(image_boxes, Tensor):
            raise TypeError(f"boxes[{i}] must be a tensor, got {type(image_boxes)}")
        if image_boxes.dim() != 2 or image_boxes.shape[1] != 4:
            raise ValueError(
                f"boxes[{i}] must have shape (n, 4), got {tuple(image_boxes.shape)}"
            )
    sizes = [len(image_boxes) for image_boxes in boxes]
    shapes = np.array(image_shapes, dtype=np.float64).reshape(-1, 2)
    if (shapes <= 0).any():
        raise ValueError("image_shapes must be positive (height, width) pairs")
    flat = torch.cat([torch.zeros(0, 4), *boxes]).double().numpy()
    if not np.isfinite(flat).all():
        raise ValueError("boxes must be finite, got NaN or infinity")
    return flat, shapes.repeat(sizes, axis=0), sizes
