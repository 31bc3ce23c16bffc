"""Algorithm 1 of the S-α paper as it stands there: the full IoU matrix per image."""

import torch
from torch import Tensor


def grid_sizes(shape: tuple[int, int], generator) -> list[tuple[int, int]]:
    return [(-(-shape[0] // s[1]), -(-shape[1] // s[0])) for s in generator.strides]


def count_by_full_matrix(boxes, shapes, generator, distinct: bool = False) -> Tensor:
    counts = torch.zeros(generator.num_levels, dtype=torch.int64)
    for image_boxes, shape in zip(boxes, shapes, strict=True):
        per_level = generator.grid_priors(
            grid_sizes(shape, generator), dtype=torch.float64, device="cpu"
        )
        level_of = torch.cat(
            [torch.full((len(a),), i) for i, a in enumerate(per_level)]
        )
        anchors = torch.cat(per_level)
        truths = image_boxes.double()
        low = torch.maximum(truths[:, None, :2], anchors[None, :, :2])
        high = torch.minimum(truths[:, None, 2:], anchors[None, :, 2:])
        overlap = (high - low).clamp(min=0).prod(-1)
        area = (truths[:, 2:] - truths[:, :2]).prod(-1)
        anchor_area = (anchors[:, 2:] - anchors[:, :2]).prod(-1)
        iou = overlap / (area[:, None] + anchor_area - overlap)
        best = [
            int((row >= row.max() - 1e-12).nonzero()[0]) for row in iou if row.max() > 0
        ]
        for first in set(best) if distinct else best:
            counts[level_of[first]] += 1
    return counts
