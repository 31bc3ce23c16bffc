"""RoIs of a detector without a second stage: the boxes that it finds itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models import dense_heads
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import TASK_UTILS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

# In training they return other predictions than in testing. FCOS with norm_on_bbox does
# as well and is known to DecodedProposals.
UNLIKE_TESTING = (
    dense_heads.CenterNetUpdateHead,
    dense_heads.GuidedAnchorHead,
    dense_heads.RepPointsHead,
    dense_heads.VFNetHead,
)

# Guo et al., "AugFPN", as its released code has it for one-stage detectors. NMS is
# within classes; a box's best RoIs are its own even if another overlaps them more.
PROPOSALS = dict(
    nms_pre=2000,
    min_bbox_size=0,
    score_thr=0.01,
    nms=dict(type="nms", iou_threshold=0.7),
    max_per_img=1000,
)
ASSIGNER = dict(
    type="MaxIoUAssigner",
    pos_iou_thr=0.5,
    neg_iou_thr=0.5,
    min_pos_iou=0.5,
    match_low_quality=True,
    ignore_iof_thr=-1,
)
SAMPLER = dict(
    type="RandomSampler",
    num=512,
    pos_fraction=0.25,
    neg_pos_ub=-1,
    add_gt_as_proposals=True,
)


class DecodedProposals:
    """Turns a dense head's predictions of an iteration into sampled RoIs.

    Args:
        proposals: post-processing as in ``test_cfg``; what is not given is AugFPN's,
            ``PROPOSALS``.
        assigner: config; the default is positive from IoU 0.5 on.
        sampler: config; the default takes 512 RoIs, a quarter of them positive, ground
            truths among them.
    """

    def __init__(
        self,
        proposals: Mapping[str, Any] | None = None,
        assigner: Mapping[str, Any] | None = None,
        sampler: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = ConfigDict({**PROPOSALS, **(proposals or {})})
        self.assigner = TASK_UTILS.build(dict(assigner or ASSIGNER))
        self.sampler = TASK_UTILS.build(dict(sampler or SAMPLER))

    @torch.no_grad()
    def __call__(
        self,
        head: nn.Module,
        outputs: Sequence[Sequence[Tensor]],
        samples: Sequence[InstanceData],
    ) -> list:
        """Sample RoIs for every image; nothing of them carries a gradient.

        The outputs are what the head's forward has returned in this iteration.
        """
        truths, ignored, metas = unpack_gt_instances(samples)
        outputs = list(outputs)
        # FCOS with norm_on_bbox predicts distances in strides while it trains.
        if getattr(head, "norm_on_bbox", False):
            strides = [stride[0] for stride in head.prior_generator.strides]
            scaled = zip(outputs[1], strides, strict=True)
            outputs[1] = [x * stride for x, stride in scaled]
        found = head.predict_by_feat(
            *outputs,
            batch_img_metas=metas,
            cfg=self.config,
            rescale=False,
            with_nms=True,
        )
        results = []
        for boxes, truth, ignore in zip(found, truths, ignored, strict=True):
            rois = InstanceData(priors=boxes.bboxes)
            assigned = self.assigner.assign(rois, truth, ignore)
            results.append(self.sampler.sample(assigned, rois, truth))
        return results


def check_head(head: nn.Module) -> None:
    """Raise unless a dense head's predictions while training can become boxes."""
    kind = type(head)
    method = getattr(kind, "predict_by_feat", None)
    needed = {"batch_img_metas", "cfg", "rescale", "with_nms"}
    if method is None or not needed <= set(inspect.signature(method).parameters):
        raise ValueError(
            "RoIAuxiliary needs a head whose predict_by_feat takes "
            f"{', '.join(sorted(needed))}; {kind.__name__}'s does not"
        )
    if isinstance(head, UNLIKE_TESTING):
        raise ValueError(
            "RoIAuxiliary needs a head that predicts the same in training and testing; "
            f"{kind.__name__} does not"
        )
