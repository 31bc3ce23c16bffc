"""How many positive anchors each pyramid level has under a detector's assigner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from math import ceil
from typing import Any

import torch
from torch import Tensor


def count_positive_anchors(
    boxes: Iterable[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    anchor_generator: Any,
    assigner: Any,
    allowed_border: int = -1,
) -> Tensor:
    """Count positive anchors per level under the detector's own assigner.

    This count is ours: neither the S-α paper nor its released code has it.

    The assigner compares every box with every anchor, as in training: some ten images a
    second at 800x1344 pixels, where the other counts take thousands.

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
    from mmdet.models.task_modules.assigners import ATSSAssigner
    from mmdet.models.task_modules.prior_generators import anchor_inside_flags
    from mmengine.structures import InstanceData

    _check_type(assigner)
    counts = torch.zeros(anchor_generator.num_levels, dtype=torch.int64)
    # Resized images have a few dozen shapes, of some 5 MB of anchors each.
    anchors_of = lru_cache(maxsize=32)(partial(_grid_anchors, anchor_generator))
    for image_boxes, shape in zip(boxes, image_shapes, strict=True):
        if len(image_boxes) == 0:
            continue
        anchors, level_of = anchors_of(shape)
        chosen = torch.ones(len(anchors)).bool()
        chosen = anchor_inside_flags(anchors, chosen, shape, allowed_border)
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


def _grid_anchors(
    anchor_generator: Any, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return all anchors of an image ``(N, 4)`` and their levels ``(N,)``."""
    strides = anchor_generator.strides
    grids = [(ceil(shape[0] / y), ceil(shape[1] / x)) for x, y in strides]
    per_level = anchor_generator.grid_priors(grids, device="cpu")
    level_of = [torch.full((len(a),), i) for i, a in enumerate(per_level)]
    return torch.cat(per_level), torch.cat(level_of)
