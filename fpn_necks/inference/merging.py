"""Boxes of tiles become boxes of the image: plain tensors in, indices out."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms

MIN_COVERED = 0.5  # of a cut box's area, by what another tile found


def suppress(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    nms_threshold: float | None,
    per_class: bool,
) -> Tensor:
    """Remove doubles by greedy non-maximum suppression.

    Classes are told apart by a loop. mmcv's and torchvision's ``batched_nms`` move each
    class to a place of its own instead, where float32 is too coarse for tiny boxes:
    20 classes of an image 20,000 px wide leave steps of 0.03 px.

    Args:
        boxes: `(n, 4)` as x1, y1, x2, y2.
        scores: `(n,)`.
        labels: `(n,)` integers.
        nms_threshold: a box is suppressed by a better one with a larger IoU; ``None``
            keeps all.
        per_class: a box is suppressed within its class only.

    Returns:
        Indices of the survivors by falling score, equal ones in order of the input.
    """
    if nms_threshold is None:
        kept = torch.arange(len(scores), device=scores.device)
    elif not per_class:
        kept = nms(boxes, scores, nms_threshold)
    else:
        groups = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
        kept = torch.cat(
            [rows[nms(boxes[rows], scores[rows], nms_threshold)] for rows in groups]
            or [labels.new_zeros(0)]
        )
    kept = kept.sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]


def find_cut_duplicates(
    boxes: Tensor, labels: Tensor, owners: Tensor, tiles: Tensor, margin: int
) -> Tensor:
    """Find boxes that a tile border cuts and that another tile found less cut.

    A box touches a side of its tile if it comes within `margin` pixels. Another tile
    sees more if it reaches further at a side that the box touches (none does at a side
    of the image), no less far at the others that it touches, and beyond the margin
    where the box does not touch. A box is a duplicate if such a tile found a box of the
    same label that covers at least half of it and reaches no less far at the sides that
    it touches. Without one it stays: it is all that was found of the object. No two
    boxes are duplicates of each other.

    Args:
        boxes: `(n, 4)` as x1, y1, x2, y2 in pixels of the image.
        labels: `(n,)` integers; equal ones for boxes of any class to be duplicates.
        owners: `(n,)` row of the tile of each box, -1 if it comes from no tile.
        tiles: `(t, 4)` tiles alike.
        margin: in pixels, at least 0.

    Returns:
        `(n,)` bool.
    """
    result = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    # With the signs of x1 and y1 turned, larger is further out at all four sides.
    outwards = boxes.new_tensor([-1, -1, 1, 1])
    reach, tiles = boxes * outwards, tiles.to(boxes) * outwards
    touches = (reach >= tiles[owners] - margin) & (owners >= 0)[:, None]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    cut = touches.any(1).nonzero()[:, 0]
    touched, own = touches[cut], tiles[owners[cut]]
    for row, tile in enumerate(tiles):
        more = torch.where(touched, tile >= own, tile > reach[cut] + margin).all(1)
        more &= (touched & (tile > own)).any(1)
        weak, others = cut[more], (owners == row).nonzero()[:, 0]
        low = torch.maximum(boxes[weak, None, :2], boxes[others, :2])
        high = torch.minimum(boxes[weak, None, 2:], boxes[others, 2:])
        covered = (high - low).clamp(min=0).prod(2) >= MIN_COVERED * areas[weak, None]
        no_less = (reach[others] >= reach[weak, None]) | ~touches[weak, None]
        same = labels[weak, None] == labels[others]
        result[weak] |= (covered & no_less.all(2) & same).any(1)
    return result
