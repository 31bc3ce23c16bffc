"""The losses of AugFPN's consistent supervision."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def box_losses_per_level(
    cls_score: Tensor,
    bbox_pred: Tensor,
    labels: Tensor,
    label_weights: Tensor,
    bbox_targets: Tensor,
    bbox_weights: Tensor,
    num_levels: int,
    loss_weight: float = 0.25,
) -> dict[str, Tensor]:
    """Compare what one head predicts of every RoI on every level with one target.

    Guo et al., "AugFPN", CVPR 2020 (arXiv 1912.05384), Sec. 3.1, Eq. 1 and 2, as the
    released code has them: on each level the cross-entropy is divided by the number of
    positive label weights and the smooth L1 distance (β = 1) by the number of RoIs.

    Targets are those of mmdet's ``BBoxHead.get_targets``: the background is the last
    class. K RoIs, L levels, C classes without the background; row ``k * L + l`` of the
    predictions is RoI k on level l.

    Args:
        cls_score: ``(K * L, C + 1)``.
        bbox_pred: ``(K * L, 4 * C)``, or ``(K * L, 4)`` if classes share their boxes.
        labels: ``(K,)``, in [0, C].
        label_weights: ``(K,)``, at least 0.
        bbox_targets: ``(K, 4)``, encoded boxes.
        bbox_weights: ``(K, 4)``, 0 where there is no target.
        num_levels: L.
        loss_weight: of the auxiliary losses in Eq. 1; 0.25 is the best of Table 3.

    Returns:
        ``loss_cls.level{l}`` and ``loss_bbox.level{l}`` for every level, scalars. They
        are finite, and zero with a gradient, where there is no RoI.

    Raises:
        ValueError: the rows of the predictions are not ``K * L``.
    """
    if len(cls_score) != len(labels) * num_levels or len(bbox_pred) != len(cls_score):
        raise ValueError(
            f"expected {len(labels)} RoIs x {num_levels} levels of predictions, got "
            f"{len(cls_score)} scores and {len(bbox_pred)} boxes"
        )
    num_classes = cls_score.shape[1] - 1
    num_boxes = bbox_pred.shape[1] // 4
    boxes = bbox_pred.reshape(len(labels), num_levels, num_boxes, 4)
    if num_boxes == 1:
        own_boxes = boxes[:, :, 0]
    else:
        # The background has no box; its weight is 0, so any class will do.
        own = labels.clamp(max=num_classes - 1)[:, None, None, None]
        own_boxes = boxes.take_along_dim(own, dim=2)[:, :, 0]  # (K, L, 4)
    scores = cls_score.reshape(len(labels), num_levels, num_classes + 1)

    num_weighted = (label_weights > 0).sum().clamp(min=1)
    losses = {}
    for level in range(num_levels):
        entropy = F.cross_entropy(scores[:, level], labels, reduction="none")
        distance = F.smooth_l1_loss(
            own_boxes[:, level], bbox_targets, reduction="none", beta=1.0
        )
        losses[f"loss_cls.level{level}"] = (
            loss_weight * (entropy * label_weights).sum() / num_weighted
        )
        losses[f"loss_bbox.level{level}"] = (
            loss_weight * (distance * bbox_weights).sum() / max(len(labels), 1)
        )
    return losses
