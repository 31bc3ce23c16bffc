"""What auxiliary supervision refuses, and what it says."""

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
    detector_config,
)
from tests.tiny_detectors import load_config, shrink


def levels(neck: Any, names: Any, **arguments: Any) -> None:
    find_levels(features.Detector(features.resnet(), neck), names, **arguments)


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


def dense_loss(name: str, **arguments: Any) -> None:
    built = dense.build(name, **arguments)
    dense.supervise(*built, dense.some_samples(dense.OBJECTS, []))


def proposing_head(kind: str) -> None:
    head = MODELS.get(kind)
    check_head(head.__new__(head))


def detector(name: str, auxiliary: Any) -> None:
    MODELS.build(detector_config(name, auxiliary))


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
MAPPER = dict(type="ChannelMapper", in_channels=features.WIDTHS, out_channels=8)
ANCHORS = dict(
    anchor_generator=dict(dense.ONE_ANCHOR, center_offset=0.0), loss_cls=dense.FOCAL
)
TOOD = ANCHORS | dict(loss_bbox=dense.GIOU, feat_channels=32)
NO_BOXES = dict(type="Shared2FCBBoxHead", with_reg=False)
RETINA, FASTER = "retinanet-dense", "faster-rcnn-s-alpha-backbone"
NO_SAMPLER = dict(roi_head={}, train_cfg=dict(rcnn=dict(assigner={})))
# What is called, and what the error says.
REFUSALS: list[tuple[Callable[[], None], str]] = [
    (lambda: levels(FPN, "c3"), "levels, if not 'laterals', must be a list"),
    (lambda: levels(FPN, []), "levels must be different and not empty"),
    (lambda: levels(FPN, ["c3"] * 2), "levels must be different and not empty"),
    (lambda: levels(FPN, ["c6"]), "levels names 'c6'.*it has c2, c3, c4, c5, m3"),
    (lambda: levels(FPN, ["m2"]), "levels names 'm2', which this detector does"),
    (lambda: levels(FPN, ["c3"], first_level="c3"), "first_level"),
    (lambda: levels(None, "laterals"), "levels='laterals' needs a neck"),
    (lambda: levels(MAPPER, "laterals"), "levels='laterals' needs a neck"),
    (lambda: levels(MAPPER, ["m3"]), "levels names 'm3'.*it has c2, c3, c4, c5"),
    (lambda: dense_head("VFNetHead", **ANCHORS), "single convs.*VFNetHead also has vf"),
    (lambda: dense_head("TOODHead", **TOOD), "can have stacked_convs=0; TOODHead can"),
    (lambda: dense_head("YOLOXHead"), "head with get_targets, and YOLOXHead has"),
    (
        lambda: dense_head("SABLRetinaHead", loss_cls=dense.FOCAL),
        "needs a head with prior_generator, and SABLRetinaHead",
    ),
    (lambda: dense_loss("free-anchor"), "FreeAnchorRetinaHead's made 0"),
    # GFL's boxes come first.
    (
        lambda: dense_loss("gfl", uncertainty_weight=0.5),
        "box loss came before its classification",
    ),
    (lambda: dense_loss("retinanet", uncertainty_weight=-1), "uncertainty_weight"),
    (lambda: dense_loss("retinanet", strides=[8, 64]), r"\[8, 16, 32\].*\[8, 64\]"),
    (lambda: dense_loss("retinanet", strides=[]), r"strides must be.*got \[\]"),
    (lambda: dense_loss("retinanet", strides=[8, 8]), r"different.*got \[8, 8\]"),
    (lambda: dense_loss("retinanet", feature_channels=0), "feature_channels.*0"),
    (lambda: dense_loss("retinanet", with_cp=0), "with_cp must be True or False"),
    (lambda: dense_loss("fcos", loss_weight=None), "loss_weight.*None"),
    (lambda: dense_loss("fcos", in_channels=[3]), "in_channels must have 3 entr"),
    (lambda: RoIAuxiliary(roi.StubDetector(), {}), "with a roi_head or a bbox"),
    (lambda: RoIAuxiliary(roi.StubDetector(), NO_SAMPLER), "that samples RoIs"),
    (lambda: roi_form(sampler=dict(type="x")), "sampler are .* without RoI head"),
    (lambda: roi_form(assignment="some"), "assignment.*'some'"),
    (lambda: roi_form(loss_weight=float("inf")), "loss_weight.*inf"),
    (lambda: roi_form(loss_weight="1"), "loss_weight.*'1'"),
    (lambda: roi_form(uncertainty_weight=True), "uncertainty_weight.*True"),
    (lambda: roi_form(feature_channels="9"), "feature_channels.*'9'"),
    (lambda: roi_form(levels=["c2", "c3"]), r"levels of one width, got \[4, 5"),
    (lambda: roi_form(mask_loss=True), "mask_loss=True needs a detector with"),
    (
        lambda: roi_form(uncertainty_weight=0.5, bbox_head=NO_BOXES),
        "uncertainty_weight needs a box head with fc_cls and fc_reg, got Shared2FC",
    ),
    (lambda: one_stage_roi_form({}), "bbox_head does not say num_classes"),
    (
        lambda: one_stage_roi_form(dict(num_classes=3), mask_loss=True),
        "mask_loss=True needs a detector with a mask",
    ),
    (lambda: proposing_head("VFNetHead"), "in training and testing; VFNetHead do"),
    (lambda: proposing_head("RepPointsHead"), "training and testing; RepPointsHead"),
    (lambda: proposing_head("CenterNetUpdateHead"), "training and testing; CenterNetU"),
    (lambda: proposing_head("GARetinaHead"), "with_nms; GARetinaHead's does not"),
    (lambda: proposing_head("CenterNetHead"), "cfg.*; CenterNetHead's does not"),
    (lambda: detector(FASTER, DENSE), "DenseAuxiliary needs a one-stage detector"),
    (lambda: detector(RETINA, dict(type="FocalLoss")), "auxiliary must have type R"),
    (lambda: detector(RETINA, dict(levels=["c2"])), "auxiliary must be a config wi"),
    (lambda: detector(RETINA, "RoIAuxiliary"), "auxiliary must be a config .*'RoIA"),
    (lambda: transformer(DENSE), "DenseAuxiliary needs a head .*DETRHead"),
    (lambda: transformer(BACKBONE), "predict_by_feat takes .*; DETRHead's does not"),
    (without_sampling, "samples RoIs by its .*PseudoSampler takes every"),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS, ids=[x[1] for x in REFUSALS])
def test_refusals(call: Callable[[], None], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
