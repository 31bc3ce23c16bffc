"""No shipped config has an error; mmdet's own detectors are judged as well."""

import pytest
from mmdet.utils import register_all_modules

from fpn_necks.checking import Finding, check_config
from fpn_necks.shipped_configs import list_configs
from tests.tiny_detectors import load_config

# One per kind of detector, and each way of building: Swin reads numbers, YOLOv3 goes
# from coarse to fine, a list of stages, DRFPN, statistic factors.
CORE = (
    "asff/yolov3_d53_asff_4xb16-300e_coco.py",
    "asff/retinanet_r50_s-alpha-fpn-asff_1x_coco.py",
    "augfpn/cascade-mask-rcnn_r50_augfpn_1x_coco.py",
    "cfg_fpn/mask-rcnn_swin-t-p4-w7_cfg-fpn_1x_coco.py",
    "drfpn/fcos_r50_drfpn_gn-head_3xb8-1x_coco.py",
    "s_alpha_fpn/faster-rcnn_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson.py",
    "s_alpha_fpn/retinanet_r50_s-alpha-fpn_1xb2-sm-1x_tinyperson.py",
)
NOT_JUDGED = ("not judged", "could not be run", "cannot be")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in CORE else pytest.mark.long)
        for name in list_configs()
    ],
)
def test_no_error_and_nothing_left_out(name: str) -> None:
    findings = check_config(load_config(name))
    assert not [finding for finding in findings if finding.level == "error"]
    left_out = [f for f in findings if any(text in f.detail for text in NOT_JUDGED)]
    assert not left_out


def test_core_configs_exist() -> None:
    assert set(CORE) <= set(list_configs())


def test_result_of_another_training_is_a_warning() -> None:
    findings = check_config(load_config(CORE[-1]))
    (warning,) = (finding for finding in findings if finding.level == "warning")
    assert warning.key == "load_from"
    assert "train retinanet_r50_s-alpha-fpn_8xb4-sm-45k_coco first" in warning.remedy


def mmdet_config(name: str):
    from mmengine.hub import get_config

    return get_config(f"mmdet::{name}")


def findings_of(name: str) -> list[Finding]:
    register_all_modules()
    return check_config(mmdet_config(name))


@pytest.mark.parametrize(
    "name",
    [
        "faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py",  # no neck, shared head
        "panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py",  # two numbers of classes
        pytest.param(  # its convs have no meta form
            "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py", marks=pytest.mark.long
        ),
        "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py",  # a second generator
    ],
)
def test_mmdets_own_detectors_without_our_necks(name: str) -> None:
    findings = findings_of(name)
    assert {finding.level for finding in findings} <= {"note"}
    assert not [f for f in findings if "not judged" in f.detail]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("detr/detr_r50_8xb2-150e_coco.py", "no anchors, points or RoI extractor"),
        ("glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py", "language model"),
        ("ssd/ssd300_coco.py", "no anchors, points or RoI extractor"),
        ("carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py", "needs a GPU"),
    ],
)
def test_what_cannot_be_judged_is_said(name: str, said: str) -> None:
    findings = findings_of(name)
    assert {finding.level for finding in findings} <= {"note"}
    assert any(said in f.detail and "not judged" in f.detail for f in findings)
