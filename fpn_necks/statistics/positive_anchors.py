"""How many positive anchors each pyramid level has under a detector's assigner."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .level_counts import base_anchors, nearest_ious

# Wide enough for the rounding of mmdet's float32 overlaps.
IOU_MARGIN = 1e-4
PIXEL_MARGIN = 1e-2


def count_positive_anchors(
    boxes: Iterable[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    anchor_generator: Any,
    assigner: Any,
    allowed_border: int = -1,
) -> Tensor:
    """Count positive anchors per level under the detector's own assigner.

    This count is ours: neither the S-α paper nor its released code has it.

    mmdet's ``MaxIoUAssigner`` sees only the anchors that can become positive, which are
    a few of the hundred thousands and leave its result as it is; other assigners, and
    anchors that must lie inside the image, get all of them.

    Args:
        boxes: per image ``(n, 4)`` float, (x1, y1, x2, y2) in pixels of the input.
        image_shapes: per image the padded (height, width) of the network's input.
        anchor_generator: an mmdet ``AnchorGenerator``.
        assigner: an mmdet ``MaxIoUAssigner`` or ``ATSSAssigner``. Under the others what
            is positive on a level depends on the network.
        allowed_border: how far in pixels an anchor may lie outside; -1 is everywhere.

    Returns:
        int64 counts, one per level.
    """
    from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
    from mmdet.models.task_modules.prior_generators import anchor_inside_flags
    from mmengine.structures import InstanceData

    levels = base_anchors(anchor_generator)
    _check_type(assigner)
    counts = torch.zeros(anchor_generator.num_levels, dtype=torch.int64)
    few = type(assigner) is MaxIoUAssigner and allowed_border < 0
    # Resized images have a few dozen shapes, of some 5 MB of anchors each.
    anchors_of = lru_cache(maxsize=32)(partial(_grid_anchors, anchor_generator))
    for image_boxes, shape in zip(boxes, image_shapes, strict=True):
        if len(image_boxes) == 0:
            continue
        anchors, level_of = anchors_of(shape)
        if few:
            threshold = assigner.pos_iou_thr
            chosen = candidates(image_boxes, shape, levels, threshold)
        else:
            everywhere = torch.ones(len(anchors)).bool()
            chosen = anchor_inside_flags(anchors, everywhere, shape, allowed_border)
        truths = InstanceData(
            bboxes=image_boxes.float(), labels=torch.zeros(len(image_boxes)).long()
        )
        priors, places = InstanceData(priors=anchors[chosen]), level_of[chosen]
        if isinstance(assigner, ATSSAssigner):
            per_level = torch.bincount(places, minlength=len(counts)).tolist()
            assigned = assigner.assign(priors, per_level, truths)
        else:
            assigned = assigner.assign(priors, truths)
        counts += torch.bincount(places[assigned.gt_inds > 0], minlength=len(counts))
    return counts


def check_assigner(head: Any) -> None:
    """Raise a ValueError unless the positive anchors of a dense head can be counted."""
    name = type(head).__name__
    if not hasattr(head.prior_generator, "base_anchors"):
        raise ValueError(
            f"count='positives' needs an anchor-based head, {name} has no anchors; use "
            "count='released'"
        )
    _check_type(getattr(head, "assigner", None))


def _check_type(assigner: Any) -> None:
    from mmdet.models.task_modules import assigners

    known = (assigners.MaxIoUAssigner, assigners.ATSSAssigner)
    # Of the family, and yet these need other anchors or return something else.
    others = (assigners.ApproxMaxIoUAssigner, assigners.MultiInstanceAssigner)
    if not isinstance(assigner, known) or isinstance(assigner, others):
        raise ValueError(
            "count='positives' works with MaxIoUAssigner and ATSSAssigner, got "
            f"{type(assigner).__name__}, which needs more than anchors and boxes; use "
            "count='released'"
        )


def candidates(
    boxes: Tensor,
    shape: tuple[int, int],
    levels: Sequence[tuple[np.ndarray, tuple[float, float]]],
    threshold: float,
) -> Tensor:
    """Find the anchors of one image that ``MaxIoUAssigner`` may make positive.

    These are, per box, the anchors whose IoU may reach the threshold, and those whose
    IoU is the highest that the box has with any anchor (several, when boxes lie inside
    anchors or the other way round).

    Args:
        boxes: ``(n, 4)``, (x1, y1, x2, y2) in pixels.
        shape: padded (height, width) of the image.
        levels: of ``base_anchors``.
        threshold: lowest IoU of a positive anchor, above 0.

    Returns:
        sorted int64 indices into all anchors of the image, levels concatenated.
    """
    columns = boxes.double().numpy().T
    sides = np.repeat(np.array(shape, dtype=np.float64)[:, None], len(boxes), axis=1)
    ious = [
        np.stack([x for x, _ in nearest_ious(columns, sides, anchors, stride)])
        for anchors, stride in levels
    ]  # per level (A, n)
    best = np.concatenate(ious).max(0)
    if (best <= 0).any():
        # With a minimum IoU of 0, mmdet gives a box without overlap every anchor.
        sizes = [math.prod(_grid_size(shape, x)) * len(a) for a, x in levels]
        return torch.arange(sum(sizes))
    found = [np.zeros(0, dtype=np.int64)]
    offset = 0
    for (anchors, stride), level_ious in zip(levels, ious, strict=True):
        rows, columns_of_grid = _grid_size(shape, stride)
        is_best = level_ious >= best - IOU_MARGIN
        is_near = level_ious >= threshold - IOU_MARGIN
        for a, box in zip(*np.nonzero(is_best | is_near), strict=True):
            reach = threshold if is_near[a, box] else None
            low, high = columns[:2, box], columns[2:, box]
            x = _cells(
                low[0], high[0], *anchors[a, 0::2], stride[0], columns_of_grid, reach
            )
            y = _cells(low[1], high[1], *anchors[a, 1::2], stride[1], rows, reach)
            cells = y[:, None] * columns_of_grid + x  # (rows, columns) of the window
            found.append(offset + cells.ravel() * len(anchors) + a)
        offset += rows * columns_of_grid * len(anchors)
    return torch.from_numpy(np.unique(np.concatenate(found)))


def _cells(
    low: float,
    high: float,
    anchor_low: float,
    anchor_high: float,
    stride: float,
    count: int,
    threshold: float | None,
) -> np.ndarray:
    """Return the cells along one axis whose anchors may be positive for a box.

    The nearest cells, those where one of the two intervals contains the other (all
    overlap equally), and those whose overlap reaches the threshold: the IoU of boxes is
    at most that of their intervals.
    """
    side, anchor_side = high - low, anchor_high - anchor_low
    distance = max(abs(side - anchor_side) / 2, stride)
    if threshold is not None:
        reach = (side + anchor_side) * (1 - threshold) / (2 * (1 + threshold))
        distance = max(distance, reach)
    # At a border the nearest cell is further away than a stride.
    nearest = ((low + high) - (anchor_low + anchor_high)) / 2 / stride
    inside = min(max(nearest, 0), count - 1)
    margin = (distance + PIXEL_MARGIN) / stride
    first = max(0, min(np.ceil(nearest - margin), np.floor(inside)))
    last = min(count - 1, max(np.floor(nearest + margin), np.ceil(inside)))
    return np.arange(int(first), int(last) + 1)


def _grid_anchors(
    anchor_generator: Any, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return all anchors of an image ``(N, 4)`` and their levels ``(N,)``."""
    grids = [_grid_size(shape, stride) for stride in anchor_generator.strides]
    per_level = anchor_generator.grid_priors(grids, device="cpu")
    level_of = [torch.full((len(a),), i) for i, a in enumerate(per_level)]
    return torch.cat(per_level), torch.cat(level_of)


def _grid_size(shape: tuple[int, int], stride: Sequence[float]) -> tuple[int, int]:
    """Return a level's (rows, columns) for an image of (height, width) pixels."""
    return int(-(-shape[0] // stride[1])), int(-(-shape[1] // stride[0]))
