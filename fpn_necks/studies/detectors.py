"""The three detectors of the study, each with mmdet's plain FPN.

Written out in full: a study must not change with another version of mmdet's configs.
What is not a width, an anchor's size or a number of RoIs is as in those configs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .recipe import (
    BACKBONE_WIDTHS,
    CHANNELS,
    FULLY_CONNECTED,
    ROIS_PER_IMAGE,
    STACKED_CONVS,
    backbone,
)

DETECTORS = {
    "retinanet": "RetinaNet",
    "faster-rcnn": "Faster R-CNN",
    "fcos": "FCOS",
}


def detector(name: str, num_classes: int, first_level: int) -> dict[str, Any]:
    """Return the config of a detector.

    Args:
        name: A key of `DETECTORS`.
        num_classes: Of its head.
        first_level: Level of highest resolution of the one-stage detectors, 2 or 3,
            which have five. Faster R-CNN has P2 to P6, and anchors as large as theirs.
    """
    strides = [2 ** (first_level + i) for i in range(5)]
    if name == "retinanet":
        return _retinanet(num_classes, strides)
    if name == "fcos":
        return _fcos(num_classes, strides)
    if name == "faster-rcnn":
        return _faster_rcnn(num_classes, smallest_anchor=2 * strides[0])
    raise ValueError(f"detector must be one of {', '.join(DETECTORS)}, got {name!r}")


def _shared(strides: Sequence[int], **neck: Any) -> dict[str, Any]:
    return dict(
        data_preprocessor=dict(
            type="DetDataPreprocessor",
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            pad_size_divisor=32,
        ),
        backbone=backbone(),
        neck=dict(
            type="FPN",
            in_channels=list(BACKBONE_WIDTHS),
            out_channels=CHANNELS,
            start_level=strides[0].bit_length() - 3,
            num_outs=5,
            **neck,
        ),
    )


def _one_stage_test() -> dict[str, Any]:
    # Detectors trained for so short a time are never sure.
    return dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.01,
        nms=dict(type="nms", iou_threshold=0.5),
        max_per_img=100,
    )


def _focal_loss() -> dict[str, Any]:
    return dict(
        type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
    )


def _box_coder(*deviations: float) -> dict[str, Any]:
    return dict(
        type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[*deviations]
    )


def _retinanet(num_classes: int, strides: list[int]) -> dict[str, Any]:
    return dict(
        type="RetinaNet",
        **_shared(strides, add_extra_convs="on_input"),
        bbox_head=dict(
            type="RetinaHead",
            num_classes=num_classes,
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            stacked_convs=STACKED_CONVS,
            anchor_generator=dict(
                type="AnchorGenerator",
                octave_base_scale=2,  # half of mmdet's: the objects are small
                scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0],
                strides=strides,
            ),
            bbox_coder=_box_coder(1.0, 1.0, 1.0, 1.0),
            loss_cls=_focal_loss(),
            loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        ),
        train_cfg=dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=0.5,
            ),
            sampler=dict(type="PseudoSampler"),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=_one_stage_test(),
    )


def _fcos(num_classes: int, strides: list[int]) -> dict[str, Any]:
    # Half of mmdet's ranges, as RetinaNet's anchors.
    ends = [-1, *(4 * stride for stride in strides[:-1]), 100_000_000]
    return dict(
        type="FCOS",
        **_shared(strides, add_extra_convs="on_output", relu_before_extra_convs=True),
        bbox_head=dict(
            type="FCOSHead",
            num_classes=num_classes,
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            stacked_convs=STACKED_CONVS,
            strides=strides,
            regress_ranges=[[*pair] for pair in pairwise(ends)],
            norm_cfg=dict(type="GN", num_groups=16, requires_grad=True),
            loss_cls=_focal_loss(),
            loss_bbox=dict(type="IoULoss", loss_weight=1.0),
            loss_centerness=dict(
                type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0
            ),
        ),
        test_cfg=_one_stage_test(),
    )


def _faster_rcnn(num_classes: int, smallest_anchor: int) -> dict[str, Any]:
    strides = [4, 8, 16, 32, 64]
    return dict(
        type="FasterRCNN",
        **_shared(strides),
        rpn_head=dict(
            type="RPNHead",
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            anchor_generator=dict(
                type="AnchorGenerator",
                scales=[smallest_anchor // strides[0]],
                ratios=[0.5, 1.0, 2.0],
                strides=strides,
            ),
            bbox_coder=_box_coder(1.0, 1.0, 1.0, 1.0),
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
            loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        ),
        roi_head=dict(
            type="StandardRoIHead",
            bbox_roi_extractor=dict(
                type="SingleRoIExtractor",
                roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
                out_channels=CHANNELS,
                featmap_strides=strides[:4],
                finest_scale=28,  # half of mmdet's
            ),
            bbox_head=dict(
                type="Shared2FCBBoxHead",
                in_channels=CHANNELS,
                fc_out_channels=FULLY_CONNECTED,
                roi_feat_size=7,
                num_classes=num_classes,
                bbox_coder=_box_coder(0.1, 0.1, 0.2, 0.2),
                reg_class_agnostic=False,
                loss_cls=dict(
                    type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0
                ),
                loss_bbox=dict(type="L1Loss", loss_weight=1.0),
            ),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(
                    type="MaxIoUAssigner",
                    pos_iou_thr=0.7,
                    neg_iou_thr=0.3,
                    min_pos_iou=0.3,
                    match_low_quality=True,
                    ignore_iof_thr=0.5,
                ),
                sampler=_sampler(256, 0.5, add_truths=False),
                allowed_border=-1,
                pos_weight=-1,
                debug=False,
            ),
            rpn_proposal=dict(
                nms_pre=2000,
                max_per_img=1000,
                nms=dict(type="nms", iou_threshold=0.7),
                min_bbox_size=0,
            ),
            rcnn=dict(
                assigner=dict(
                    type="MaxIoUAssigner",
                    pos_iou_thr=0.5,
                    neg_iou_thr=0.5,
                    min_pos_iou=0.5,
                    match_low_quality=False,
                    ignore_iof_thr=0.5,
                ),
                sampler=roi_sampler(),
                pos_weight=-1,
                debug=False,
            ),
        ),
        test_cfg=dict(
            rpn=dict(
                nms_pre=1000,
                max_per_img=1000,
                nms=dict(type="nms", iou_threshold=0.7),
                min_bbox_size=0,
            ),
            rcnn=dict(
                score_thr=0.01,
                nms=dict(type="nms", iou_threshold=0.5),
                max_per_img=100,
            ),
        ),
    )


def roi_sampler() -> dict[str, Any]:
    """Return the sampler of RoIs, of second stages and of auxiliary losses."""
    return _sampler(ROIS_PER_IMAGE, 0.25, add_truths=True)


def _sampler(number: int, positive: float, add_truths: bool) -> dict[str, Any]:
    return dict(
        type="RandomSampler",
        num=number,
        pos_fraction=positive,
        neg_pos_ub=-1,
        add_gt_as_proposals=add_truths,
    )
