"""Boxes of tiles become boxes of the image: plain tensors in, indices out."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms


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


def is_seen_better(boxes: Tensor, owners: Tensor, tiles: Tensor, margin: int) -> Tensor:
    """Tell which boxes a tile border cuts while another tile sees more of them.

    A box touches a side of its tile if it comes within `margin` pixels. Another tile
    sees more if it reaches further at a side that the box touches (none does at a side
    of the image), no less far at the others that it touches, and beyond the margin
    where the box does not touch. The tile that sees most of an object is never told to
    give way.

    Args:
        boxes: `(n, 4)` as x1, y1, x2, y2 in pixels of the image.
        owners: `(n,)` row of the tile of each box, -1 if it comes from no tile.
        tiles: `(t, 4)` tiles alike.
        margin: in pixels, at least 0.

    Returns:
        `(n,)` bool.
    """
    result = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    # With the signs of x1 and y1 turned, larger is further out at all four sides.
    outwards = boxes.new_tensor([-1, -1, 1, 1])
    boxes, tiles = boxes * outwards, tiles.to(boxes) * outwards
    touches = boxes >= tiles[owners] - margin
    rows = (touches.any(1) & (owners >= 0)).nonzero()[:, 0]
    boxes, own, touches = boxes[rows], tiles[owners[rows]], touches[rows]
    seen = result[rows]
    for tile in tiles:
        covers = torch.where(touches, tile >= own, tile > boxes + margin).all(1)
        seen |= covers & (touches & (tile > own)).any(1)
    result[rows] = seen
    return result
