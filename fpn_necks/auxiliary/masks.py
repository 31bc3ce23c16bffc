"""Auxiliary mask losses: supervised maps predict the masks of the detector's RoIs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.model import ModuleList
from mmengine.structures import InstanceData
from torch import Tensor

from fpn_necks.roi_extractors import AllLevelRoIExtractor

from .head_configs import first_stage

if TYPE_CHECKING:
    from .roi_form import RoIAuxiliary


def build_mask_heads(
    settings: Mapping[str, Any], widths: list[int], strides: list[int], number: int
) -> tuple[ModuleList, AllLevelRoIExtractor]:
    """Build heads like the detector's own, and the pooling before them.

    Args:
        settings: config of the detector.
        widths: of the supervised maps.
        strides: of the supervised maps.
        number: how many heads: one, or one per map.

    Raises:
        ValueError: the detector has no mask head.
    """
    roi_head = settings.get("roi_head") or {}
    config = first_stage(roi_head.get("mask_head"))
    if config is None:
        raise ValueError("mask_loss=True needs a detector with a mask_head")
    extractor = first_stage(roi_head.get("mask_roi_extractor")) or first_stage(
        roi_head.get("bbox_roi_extractor")
    )
    layer = copy.deepcopy(extractor["roi_layer"])
    heads = ModuleList(
        MODELS.build({**copy.deepcopy(config), "in_channels": width})
        for width in widths[:number]
    )
    return heads, AllLevelRoIExtractor(layer, widths[0], strides)


def mask_losses(
    form: RoIAuxiliary,
    maps: Sequence[Tensor],
    sampled: Sequence[SamplingResult],
    samples: Sequence[InstanceData],
) -> dict[str, Tensor]:
    """Compute ``aux.loss_mask.<level>`` of the positive RoIs.

    Args:
        form: the auxiliary supervision, with mask heads.
        maps: what is pooled from, per level.
        sampled: the detector's RoIs, per image.
        samples: the batch's data samples.
    """
    truths = [sample.gt_instances for sample in samples]
    rois = bbox2roi([result.pos_priors for result in sampled])
    labels = torch.cat([result.pos_gt_labels for result in sampled])
    targets = rois
    if len(rois) > 0:
        targets = form.mask_heads[0].get_targets(sampled, truths, form.train_cfg)
    losses = {}
    for i, (x, rows) in enumerate(zip(maps, form.rows_of_levels(rois), strict=True)):
        head = form.mask_heads[i if len(form.mask_heads) > 1 else 0]
        masks = head(form.mask_roi_extractor.pool_level(i, x, rois[rows]))
        if isinstance(masks, list):
            masks = masks[0]  # HTC's head returns its features as well
        loss = masks.sum() * 0
        if len(masks) > 0:
            classes = labels[rows] * (0 if head.class_agnostic else 1)
            share = len(masks) / len(rois)
            loss = head.loss_mask(masks, targets[rows], classes).sum() * share
        losses[f"aux.loss_mask.{form.levels[i].name}"] = form.loss_weight * loss
    return losses
