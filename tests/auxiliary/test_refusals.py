"""What auxiliary supervision refuses at construction, and what it says."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from mmdet.models.detectors import DETR
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict

from fpn_necks.auxiliary import (
    AuxiliaryLosses,
    DenseAuxiliary,
    RoIAuxiliary,
    find_levels,
)
from fpn_necks.auxiliary.proposals import check_head
from tests.auxiliary import test_dense_form as dense
from tests.auxiliary import test_features as features
from tests.auxiliary import test_roi_form as roi
from tests.auxiliary.cases import (
    BACKBONE,
    DENSE,
    LATERALS,
    ONE_STAGE,
    detector_config,
)
from tests.tiny_detectors import load_config, shrink

MAPPER = dict(type="ChannelMapper", in_channels=features.WIDTHS, out_channels=8)


def levels(neck: Any, names: Any) -> None:
    find_levels(features.Detector(features.resnet(), neck), names)


def roi_form(**arguments: Any) -> None:
    RoIAuxiliary(roi.StubDetector(), copy.deepcopy(roi.SETTINGS), **arguments)


def one_stage_roi_form(head: dict, **arguments: Any) -> None:
    detector = roi.StubDetector()
    built = dict(type="RetinaHead", num_classes=3, in_channels=4)
    detector.bbox_head = MODELS.build(built)
    RoIAuxiliary(detector, dict(bbox_head=dict(type="RetinaHead") | head), **arguments)


def dense_head(kind: str, **changes: Any) -> None:
    config = ConfigDict(dict(type=kind, num_classes=3, in_channels=4) | changes)
    settings = dict(bbox_head=config, train_cfg=None)
    DenseAuxiliary(dense.StubDetector(settings), settings)


def proposing_head(kind: str) -> None:
    head = MODELS.get(kind)
    check_head(head.__new__(head))


def detector(name: str, auxiliary: Any, **changes: Any) -> None:
    MODELS.build(detector_config(name, auxiliary) | changes)


@MODELS.register_module()
class AuxiliaryDETRForTests(AuxiliaryLosses, DETR):
    """What a user may try with a detector of neither one nor two stages."""


def transformer(auxiliary: dict) -> None:
    base = '_base_ = "mmdet::detr/detr_r50_8xb2-150e_coco.py"'
    config = Config.fromstring(base, ".py").model
    config.backbone.init_cfg = None
    MODELS.build(config | dict(type="AuxiliaryDETRForTests", auxiliary=auxiliary))


def without_sampling() -> None:
    config = shrink(load_config("sparse-rcnn_r50_cfg-fpn_1x_coco")).model
    MODELS.build(config | dict(type="AuxiliarySparseRCNN", auxiliary=LATERALS))


FPN = features.FPN | dict(start_level=1)
ANCHORS = dict(
    anchor_generator=dict(dense.ONE_ANCHOR, center_offset=0.0), loss_cls=dense.FOCAL
)
TOOD = ANCHORS | dict(loss_bbox=dense.GIOU, feat_channels=32)
YOLO = dict(in_channels=[4, 4, 4], out_channels=[8, 8, 8])
RETINA, FASTER = "retinanet-dense", "faster-rcnn-laterals"
Row = tuple[tuple, dict[str, Any], type[Exception], str]
# What is called, its arguments, and what the error says.
ROWS: dict[Callable, list[Row]] = {
    levels: [
        ((FPN, "c3"), {}, TypeError, "levels must be 'laterals' or a list.*got 'c3'"),
        ((FPN, 3), {}, TypeError, "levels must be 'laterals' or a list.*got 3"),
        ((FPN, [3]), {}, ValueError, "levels must name backbone outputs.*got 3"),
        ((FPN, ["p3"]), {}, ValueError, "levels must name backbone outputs.*got 'p3'"),
        ((FPN, ["c"]), {}, ValueError, "levels must name backbone outputs.*got 'c'"),
        ((FPN, []), {}, ValueError, "levels must be different and not empty"),
        ((FPN, ["c3"] * 2), {}, ValueError, "levels must be different and not empty"),
        ((FPN, ["c6"]), {}, ValueError, "levels names 'c6'.*it has c2, c3, c4, c5, m3"),
        ((FPN, ["m2"]), {}, ValueError, "levels names 'm2', which this detector does"),
        ((None, "laterals"), {}, ValueError, "levels='laterals' needs a neck.*no neck"),
        ((None, ["m3"]), {}, ValueError, "level 'm3' needs a neck.*has no neck"),
        ((MAPPER, "laterals"), {}, ValueError, "a ChannelMapper without any"),
        ((MAPPER, ["m3"]), {}, ValueError, "level 'm3'.*a ChannelMapper without any"),
    ],
    dense_head: [
        (("VFNetHead",), ANCHORS, ValueError, "single convs.*VFNetHead also has vfnet"),
        (("RepPointsHead",), {}, ValueError, "RepPointsHead also has reppoints_cls_co"),
        (("TOODHead",), TOOD, ValueError, "can have stacked_convs=0; TOODHead cannot"),
        (("YOLOV3Head",), YOLO, ValueError, "have stacked_convs=0; YOLOV3Head cannot"),
        (("YOLOXHead",), {}, ValueError, "head with get_targets, and YOLOXHead has"),
        (
            ("SABLRetinaHead",),
            dict(loss_cls=dense.FOCAL),
            ValueError,
            "needs a head with prior_generator, and SABLRetinaHead",
        ),
    ],
    dense.build: [
        (("retinanet",), dict(uncertainty_weight=-1), ValueError, "uncertainty_weight"),
        (
            ("retinanet",),
            dict(strides=[8, 64]),
            ValueError,
            r"\[8, 16, 32\].*\[8, 64\]",
        ),
        (("retinanet",), dict(strides=[]), ValueError, r"strides must be.*got \[\]"),
        (("retinanet",), dict(strides=[8, 8]), ValueError, r"different.*got \[8, 8\]"),
        (("retinanet",), dict(feature_channels=0), ValueError, "feature_channels.*0"),
        (("retinanet",), dict(with_cp=0), TypeError, "with_cp must be True or False"),
        (("fcos",), dict(levels="laterals"), ValueError, "a Identity without any"),
        (("fcos",), dict(loss_weight=None), TypeError, "loss_weight.*None"),
        (("fcos",), dict(in_channels=[3]), ValueError, "in_channels must have one wid"),
    ],
    DenseAuxiliary.check_settings: [
        ((dict(roi_head={}),), {}, ValueError, "needs a one-stage detector.*RoIAuxil"),
    ],
    RoIAuxiliary.check_settings: [
        ((dict(backbone={}),), {}, ValueError, "a detector with a roi_head or a bbox"),
        (
            (dict(roi_head={}, train_cfg=None),),
            {},
            ValueError,
            "train_cfg.rcnn.sampler",
        ),
        (
            (dict(roi_head={}, train_cfg=dict(rcnn=dict(assigner={}))),),
            {},
            ValueError,
            "needs a detector that samples RoIs",
        ),
    ],
    roi_form: [
        ((), dict(assignment="some"), ValueError, "assignment.*'some'"),
        ((), dict(loss_weight=float("inf")), ValueError, "loss_weight.*inf"),
        ((), dict(loss_weight="1"), TypeError, "loss_weight.*'1'"),
        ((), dict(uncertainty_weight=True), TypeError, "uncertainty_weight.*True"),
        ((), dict(feature_channels="9"), TypeError, "feature_channels.*'9'"),
        ((), dict(levels=["c2", "c3"]), ValueError, r"levels of one width, got \[4, 5"),
        ((), dict(mask_loss=True), ValueError, "mask_loss=True needs a detector with"),
        *(
            (
                (),
                {name: dict(type="x")},
                ValueError,
                "proposals, assigner and sampler are for detectors without RoI head",
            )
            for name in ("proposals", "assigner", "sampler")
        ),
        (
            (),
            dict(
                uncertainty_weight=0.5,
                bbox_head=dict(type="Shared2FCBBoxHead", with_reg=False),
            ),
            ValueError,
            "uncertainty_weight needs a box head with fc_cls and fc_reg, got Shared2FC",
        ),
    ],
    one_stage_roi_form: [
        (({},), {}, ValueError, "bbox_head does not say num_classes"),
        (
            (dict(num_classes=3),),
            dict(mask_loss=True),
            ValueError,
            "mask_loss=True needs a detector with a mask",
        ),
    ],
    proposing_head: [
        (("VFNetHead",), {}, ValueError, "same in training and testing; VFNetHead do"),
        (("RepPointsHead",), {}, ValueError, "in training and testing; RepPointsHead"),
        (("CenterNetUpdateHead",), {}, ValueError, "training and testing; CenterNetUp"),
        (("GARetinaHead",), {}, ValueError, "with_nms; GARetinaHead's does not"),
        (("CenterNetHead",), {}, ValueError, "cfg.*; CenterNetHead's does not"),
    ],
    detector: [
        (("faster-rcnn-dc5", LATERALS), {}, ValueError, "'laterals' needs .* no neck"),
        ((FASTER, DENSE), {}, ValueError, "DenseAuxiliary needs a one-stage detector"),
        (
            (RETINA, DENSE | dict(strides=[4])),
            {},
            ValueError,
            r"strides must .*\[8, 16",
        ),
        ((FASTER, LATERALS | ONE_STAGE), {}, ValueError, "proposals, .* without RoI h"),
        ((RETINA, dict(type="FocalLoss")), {}, TypeError, "auxiliary must have type R"),
        ((RETINA, dict(levels=["c2"])), {}, TypeError, "auxiliary must be a config wi"),
        ((RETINA, "RoIAuxiliary"), {}, TypeError, "auxiliary must be a config .*'RoIA"),
    ],
    transformer: [
        ((DENSE,), {}, ValueError, "DenseAuxiliary needs a head .*DETRHead"),
        ((BACKBONE,), {}, ValueError, "predict_by_feat takes .*; DETRHead's does not"),
    ],
    without_sampling: [((), {}, ValueError, "samples RoIs; PseudoSampler takes every")],
}


@pytest.mark.parametrize(
    ("function", "arguments", "keywords", "error", "message"),
    [(function, *row) for function, rows in ROWS.items() for row in rows],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals(
    function: Callable,
    arguments: tuple,
    keywords: dict,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        function(*arguments, **keywords)
