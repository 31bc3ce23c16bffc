"""No shipped config has an error; mmdet's own detectors are checked as well."""

import re
from pathlib import Path
from typing import Any

import mmdet
import pytest
from mmdet.utils import register_all_modules
from mmengine.hub import get_config

from fpn_necks.check import Problem, check_config
from fpn_necks.config_tools import ConfigError
from fpn_necks.config_tools import load_config as load_any_config
from fpn_necks.shipped_configs import list_configs
from tests.tiny_detectors import load_config

NOT_CHECKED = ("not checked", "could not be run", "cannot be")


@pytest.mark.parametrize("name", list_configs())
def test_nothing_is_wrong_or_left_out(name: str) -> None:
    """Levels, strides, widths, classes, batches of one image, frozen stages."""
    problems = check_config(load_config(name))
    left_out = [f for f in problems if any(text in f.detail for text in NOT_CHECKED)]
    assert not left_out
    # The weights of another training are loaded.
    first = f"train {Path(load_config(name).load_from or '').parent.name} first"
    serious = [problem for problem in problems if problem.level != "note"]
    assert len(serious) == ("sm-1x" in name)
    for warning in serious:
        assert (warning.level, warning.key) == ("warning", "load_from")
        assert warning.remedy.startswith(first)


def problems_of(name: str) -> list[Problem]:
    register_all_modules()
    return check_config(get_config(f"mmdet::{name}"))


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
    problems = problems_of(name)
    assert {problem.level for problem in problems} <= {"note"}
    assert not [f for f in problems if "not checked" in f.detail]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("detr/detr_r50_8xb2-150e_coco.py", "no anchors, points or RoI extractor"),
        ("glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py", "language model"),
        ("ssd/ssd300_coco.py", "no anchors, points or RoI extractor"),
        ("carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py", "needs a GPU"),
    ],
)
def test_what_cannot_be_checked_is_said(name: str, said: str) -> None:
    problems = problems_of(name)
    assert {problem.level for problem in problems} <= {"note"}
    assert any(said in f.detail and "not checked" in f.detail for f in problems)


MMDET = Path(mmdet.__file__).parent / ".mim" / "configs"
SAMPLE = (
    "atss/atss_r50_fpn_1x_coco.py",
    "common/lsj-100e_coco-detection.py",  # no model
    "objects365/retinanet_r50_fpn_1x_objects365v1.py",
    "qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py",
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",  # strides of 320 pixels
    "yolox/yolox_tiny_8xb8-300e_coco.py",  # a stem of 12 channels
)
# Each was once said to be wrong, or cannot be checked for another reason.
ODD = (
    "boxinst/boxinst_r50_fpn_ms-90k_coco.py",
    "bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot20train_test-mot20test.py",
    "convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py",
    "glip/odinw/glip_atss_swin-t_a_fpn_dyhead_pretrain_odinw13.py",
    "misc/d2_retinanet_r50-caffe_fpn_ms-90k_coco.py",
    "mm_grounding_dino/coco/grounding_dino_swin-t_finetune_16xb4_1x_coco_48_17.py",
    "sort/faster-rcnn_r50_fpn_8xb2-8e_mot20train_test-mot20train.py",
)
# mmdet itself cannot build these, or fails in the first batch normalisation.
WRONG_IN_MMDET = {
    "cascade_rpn/cascade-rpn_r50-caffe_fpn_1x_coco.py",
    "nas_fcos/nas-fcos_r50-caffe_fpn_fcoshead-gn-head_4xb4-1x_coco.py",
    "nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco.py",
    "v3det/fcos_swinb_fpn_8x4_sample1e-3_mstrain_v3det_2x.py",
}
# Files, packages and base configs that are not here.
MISSING = (
    "no file|No such file|does not exist|not installed|install mmpretrain|"
    "No module named|Please install"
)


def errors_of_mmdet(name: str) -> list[Problem]:
    """Return the errors of one of mmdet's configs, but for what is not here."""
    try:
        problems = check_config(load_any_config(MMDET / name, import_modules=False))
    except ConfigError as error:  # mmengine cannot read it either
        assert re.search(MISSING, str(error)), name
        return []
    errors = [problem for problem in problems if problem.level == "error"]
    return [error for error in errors if not re.search(MISSING, error.detail)]


@pytest.mark.parametrize("name", SAMPLE)
def test_no_false_error_in_mmdets_configs(name: str) -> None:
    assert not errors_of_mmdet(name)


@pytest.mark.long  # a minute and a half
def test_no_false_error_in_every_tenth_config_of_mmdet() -> None:
    names = sorted(
        path.relative_to(MMDET).as_posix()
        for path in MMDET.rglob("*.py")
        if not {"_base_", "common"} & set(path.parts)
    )
    chosen = dict.fromkeys([*names[::10], *ODD]).keys() - WRONG_IN_MMDET
    found = {name: errors_of_mmdet(name) for name in sorted(chosen)}
    assert not {name: errors for name, errors in found.items() if errors}


def changed(**changes: Any) -> list[Problem]:
    config = load_config("retinanet_r50_s-alpha-fpn_1x_coco")
    config.merge_from_dict(changes)
    problems = check_config(config)
    return [problem for problem in problems if problem.level == "error"]


def test_what_mmengine_accepts_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``~``, classes from a file, scoped types, one channel."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.pth").touch()
    assert not changed(load_from="~/x.pth")
    assert changed(load_from="~/y.pth")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    classes = dict(classes=str(tmp_path / "classes.txt"))
    loaders = {
        f"{split}_dataloader.dataset.metainfo": classes
        for split in ("train", "val", "test")
    }
    assert not changed(**loaders, **{"model.bbox_head.num_classes": 2})
    assert changed(**loaders, **{"model.bbox_head.num_classes": 3})
    scoped = {"custom_hooks": [dict(type="mmdet.FusionFactorHook")]}
    assert not changed(**scoped, **{"model.neck.type": "mmdet.SAlphaFPN"})
    gray = {
        "model.backbone.in_channels": 1,
        "model.data_preprocessor.mean": [127.0],
        "model.data_preprocessor.std": [50.0],
    }
    assert not changed(**gray)
