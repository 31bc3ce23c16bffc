"""The configs that reproduce a paper, against the values of the released files.

The tables below were written from the files that the authors released, in the settings
of mmdet 3 that say the same. Where nothing was released they are the paper's text.
Batches are those of the configs' names, see tests/test_configs.py.
"""

import re
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import register_all_modules
from mmengine.structures import InstanceData

from fpn_necks.auxiliary import proposals
from fpn_necks.config_tools import value_at
from fpn_necks.shipped_configs import configs_folder
from tests.tiny_detectors import load_config

register_all_modules()


def smooth_l1(beta: float, weight: float = 1.0) -> dict[str, Any]:
    return dict(type="SmoothL1Loss", beta=beta, loss_weight=weight)


def at(prefix: str, **values: Any) -> dict[str, Any]:
    """Return dotted keys below a prefix; ``a__b`` stands for ``a.b``."""
    return {f"{prefix}.{key.replace('__', '.')}": x for key, x in values.items()}


def rate(value: float) -> dict[str, Any]:
    return at("optim_wrapper.optimizer", lr=value)


BEGIN = dict(by_epoch=False, begin=0, end=500)
LINEAR_WARM_UP = dict(type="LinearLR", start_factor=1 / 3, **BEGIN)
CONSTANT_WARM_UP = dict(type="ConstantLR", factor=1 / 3, **BEGIN)
FASTER_BIASES = dict(bias_lr_mult=2, bias_decay_mult=0)
CLIPPED = dict(max_norm=35, norm_type=2)
STDS = [0.1, 0.1, 0.2, 0.2]
ROI_ALIGN = dict(type="RoIAlign", output_size=7, sampling_ratio=2, aligned=False)

# ------------------------------------- S-α: Effective-Fusion-Factor and TinyBenchmark

TINY_PERSON = {
    **at("model.backbone", frozen_stages=1, norm_eval=True),
    **at("model.backbone", norm_cfg__requires_grad=False),
    **at("model.neck", init_cfg=dict(type="Caffe2Xavier", layer="Conv2d")),
    **at("train_dataloader.dataset", filter_cfg__filter_empty_gt=True),
    **at("train_dataloader.dataset.tiles", size=(640, 512), overlap=(50, 50)),
    **at("train_dataloader.dataset", pipeline__2=dict(type="RandomFlip", prob=0.5)),
    **at("optim_wrapper.optimizer", momentum=0.9, weight_decay=1e-4),
    **at("optim_wrapper", paramwise_cfg=FASTER_BIASES, clip_grad=None),
    "param_scheduler.0": LINEAR_WARM_UP,
    "param_scheduler.1.milestones": [6, 10],
    "train_cfg.max_epochs": 12,
}
RETINANET = {
    **at("model.bbox_head.anchor_generator", type="RoundedAnchorGenerator"),
    **at("model.bbox_head", bbox_coder__target_stds=STDS),
    **at("model.bbox_head", loss_bbox=smooth_l1(0.11, 0.25)),
    **at("model.bbox_head.loss_cls", gamma=2, alpha=0.25),
    **at("model.train_cfg", allowed_border=-1),
    **at("model.train_cfg.assigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    **at("model.test_cfg", nms_pre=1000, score_thr=0.05, nms__iou_threshold=0.4),
    **at("model.test_cfg", max_per_img=100),
}
RETINANET_TINY = TINY_PERSON | RETINANET | rate(0.005)
P2_P6 = {
    **at("model.neck", start_level=0, add_extra_convs=False),
    **at("model.bbox_head.anchor_generator", octave_base_scale=2),
    **at("model.bbox_head.anchor_generator", strides=[4, 8, 16, 32, 64]),
}
P3_P7 = {
    **at("model.neck", start_level=1, add_extra_convs="on_input"),
    **at("model.neck", relu_before_extra_convs=True),
    **at("model.bbox_head.anchor_generator", octave_base_scale=1),
    **at("model.bbox_head.anchor_generator", strides=[8, 16, 32, 64, 128]),
}
FASTER_RCNN = {
    **at("model.rpn_head.anchor_generator", type="RoundedAnchorGenerator"),
    **at("model.rpn_head.anchor_generator", ratios=[0.5, 1.3, 2.0]),
    "model.rpn_head.anchor_generator.base_sizes": [8.31, 12.5, 18.55, 30.23, 60.41],
    **at("model.rpn_head", loss_bbox=smooth_l1(1 / 9)),
    # No minimum; see test_a_sliver_at_the_border_does_not_make_every_anchor_positive.
    **at("model.train_cfg.rpn.assigner", min_pos_iou=1e-6),
    **at("model.train_cfg.rpn", assigner__pos_iou_thr=0.7, assigner__neg_iou_thr=0.3),
    **at("model.train_cfg.rpn", allowed_border=0),
    **at("model.train_cfg.rpn.sampler", num=256, pos_fraction=0.5),
    **at("model.train_cfg.rpn_proposal", nms_pre=2000, max_per_img=2000),
    **at("model.train_cfg.rcnn", assigner__match_low_quality=False),
    **at("model.train_cfg.rcnn.sampler", num=512, pos_fraction=0.25),
    **at("model.roi_head.bbox_roi_extractor", type="InclusiveRoIExtractor"),
    **at("model.roi_head.bbox_roi_extractor", roi_layer=ROI_ALIGN),
    **at("model.roi_head.bbox_head", loss_bbox=smooth_l1(1.0)),
    **at("model.roi_head.bbox_head", bbox_coder__target_stds=STDS),
    **at("model.roi_head.bbox_head", reg_class_agnostic=False),
    **at("model.test_cfg.rpn", nms_pre=1000, max_per_img=1000),
    **at("model.test_cfg.rcnn", score_thr=0.05, max_per_img=200),
    **at("model.test_cfg.rcnn", nms__iou_threshold=0.5),
}
FASTER_RCNN_TINY = TINY_PERSON | FASTER_RCNN | rate(0.01)
FCOS_TINY = TINY_PERSON | {
    **at("model.neck", start_level=1, add_extra_convs="on_output"),
    **at("model.neck", relu_before_extra_convs=True, fusion_factor=1),
    **at("model.bbox_head", strides=[8, 16, 32, 64, 128], conv_bias=True),
    **at("model.test_cfg", score_thr=0.05, nms__iou_threshold=0.6, max_per_img=100),
    "param_scheduler.0": CONSTANT_WARM_UP,
    **rate(0.0025),
}
MATCHED = dict(
    scale_range=(0.1, 1),
    default_scale=0.25,
    backend="pillow",
    target_ann_file="data/tiny_set/mini_annotations/"
    "tiny_set_train_sw640_sh512_all_erase.json",
)
SETS = "train_dataloader.dataset.datasets"
SCALE_MATCH = {
    **at("model.neck", fusion_factor=1, init_cfg__type="Caffe2Xavier"),
    **at("model.backbone", norm_cfg__requires_grad=False),
    **at(f"{SETS}.0", data_prefix__img="train2017/"),
    **at(f"{SETS}.1", data_prefix__img="val2017/"),
    **at(f"{SETS}.0.pipeline.2", **MATCHED),
    **at(f"{SETS}.1.pipeline.2", **MATCHED),
    "train_cfg.max_iters": 45000,
    "param_scheduler.0": CONSTANT_WARM_UP,
    "param_scheduler.1.milestones": [30000, 40000],
    **rate(0.02),
    **at("optim_wrapper", paramwise_cfg=FASTER_BIASES, clip_grad=None),
}
CAFFE = {
    **at("model.data_preprocessor", mean=[102.9801, 115.9465, 122.7717]),
    **at("model.data_preprocessor", std=[1, 1, 1], bgr_to_rgb=False),
    **at("model.backbone", style="caffe", norm_cfg__requires_grad=False),
    "model.backbone.init_cfg.checkpoint": "open-mmlab://detectron/resnet50_caffe",
}
ALPHA = "model.neck.fusion_factor"
RETINANET_S_ALPHA = RETINANET_TINY | P2_P6 | {ALPHA: [0.368, 0.387, 0.367]}
FASTER_RCNN_S_ALPHA = FASTER_RCNN_TINY | {ALPHA: [0.48, 0.66, 1.06]}

# ------------------------------------------------------------------ AugFPN, mmdet 0.x

LOW_QUALITY = dict(
    type="MaxIoUAssigner",
    pos_iou_thr=0.5,
    neg_iou_thr=0.5,
    min_pos_iou=0.5,
    match_low_quality=True,
    ignore_iof_thr=-1,
)


def test_one_stage_supervision_assigns_as_released() -> None:
    assert proposals.ASSIGNER == LOW_QUALITY


COCO = {
    **at("optim_wrapper.optimizer", momentum=0.9, weight_decay=1e-4),
    "param_scheduler.1.milestones": [8, 11],
    "train_cfg.max_epochs": 12,
    "train_dataloader.dataset.pipeline.2.scale": (1333, 800),
    "model.backbone.frozen_stages": 1,
}
AUGFPN = COCO | {
    "model.neck.type": "AugFPN",
    "model.auxiliary.roi_layer": ROI_ALIGN,
    "optim_wrapper.clip_grad": CLIPPED,
    "param_scheduler.0": LINEAR_WARM_UP,
}
AUGFPN_TWO_STAGE = AUGFPN | {
    **rate(0.02),
    "model.rpn_head.anchor_generator.center_offset": 0.5,
    "model.rpn_head.loss_bbox": smooth_l1(1 / 9),
    **at("model.train_cfg.rpn", allowed_border=0, assigner__min_pos_iou=0.3),
    **at("model.train_cfg.rpn_proposal", nms_pre=2000, max_per_img=2000),
    "model.train_cfg.rcnn.assigner": LOW_QUALITY,
    **at("model.test_cfg.rpn", nms_pre=2000, max_per_img=2000),
    "model.test_cfg.rcnn.nms.iou_threshold": 0.5,
    **at("model.roi_head.bbox_roi_extractor", type="SoftRoIExtractor"),
    **at("model.roi_head.bbox_roi_extractor", roi_layer=ROI_ALIGN),
    **at("model.roi_head.bbox_head", loss_bbox=smooth_l1(1.0)),
    **at("model.roi_head.bbox_head", bbox_coder__target_stds=STDS),
    "model.auxiliary.bbox_head.init_cfg": [],
}

# --------------------------------------------------- DRFPN, mmdet 2.0; the text's 3 x 8

DRFPN = COCO | {
    **at("model.neck", type="DRFPN", srb__zero_init=False),
    "optim_wrapper.clip_grad": None,
    "param_scheduler.0.start_factor": 0.001,
}
DRFPN_TWO_STAGE = DRFPN | {
    **rate(0.03),
    "model.train_cfg.rpn_proposal.nms_pre": 2000,
    "model.test_cfg.rpn.max_per_img": 1000,
    "model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio": 0,
}
FCOS = {
    "optim_wrapper.paramwise_cfg": FASTER_BIASES,
    "param_scheduler.0": CONSTANT_WARM_UP,
}


def without(recipe: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in recipe.items() if name != key}


RECIPES: dict[str, dict[str, Any]] = {
    "retinanet_r50-caffe_s-alpha-fpn_1xb2-1x_tinyperson": RETINANET_S_ALPHA | CAFFE,
    "retinanet_r50_fpn_1xb2-1x_tinyperson": RETINANET_S_ALPHA | {ALPHA: 1},
    "retinanet_r50_fpn-p3-p7_1xb2-1x_tinyperson": RETINANET_TINY | P3_P7 | {ALPHA: 1},
    "retinanet_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson": RETINANET_TINY | P2_P6,
    "faster-rcnn_r50-caffe_s-alpha-fpn_1xb2-1x_tinyperson": FASTER_RCNN_S_ALPHA | CAFFE,
    "faster-rcnn_r50_fpn_1xb2-1x_tinyperson": FASTER_RCNN_TINY | {ALPHA: 1},
    "faster-rcnn_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson": FASTER_RCNN_TINY,
    "fcos_r50_fpn_gn-head_1xb2-1x_tinyperson": FCOS_TINY,
    "fcos_r50-caffe_fpn_gn-head_1xb2-1x_tinyperson": FCOS_TINY | CAFFE,
    "freeanchor_r50_fpn_1xb2-1x_tinyperson": RETINANET_TINY
    | P2_P6
    | rate(0.0025)
    | {
        ALPHA: 1,
        "model.bbox_head.loss_bbox": smooth_l1(0.11, 0.75),
        "model.bbox_head.init_cfg.override.bias_prob": 0.02,
        "model.test_cfg.nms.iou_threshold": 0.7,
    },
    "retinanet_r50_augfpn_1x_coco": AUGFPN
    | rate(0.01)
    | {
        "model.neck.residual_to_extra_level": True,
        "model.bbox_head.anchor_generator.center_offset": 0.5,
        **at("model.bbox_head", bbox_coder__target_stds=[1, 1, 1, 1]),
        "model.bbox_head.loss_bbox": smooth_l1(0.11),
        "model.test_cfg.nms.iou_threshold": 0.5,
    },
    "faster-rcnn_r50_augfpn_1x_coco": AUGFPN_TWO_STAGE,
    "mask-rcnn_r50_augfpn_1x_coco": AUGFPN_TWO_STAGE
    | {
        "model.roi_head.mask_roi_extractor.type": "SoftRoIExtractor",
        "model.roi_head.mask_roi_extractor.roi_layer": ROI_ALIGN | {"output_size": 14},
        "model.auxiliary.mask_loss": True,
    },
    "fcos_r50_augfpn_gn-head_4xb4-1x_coco": AUGFPN
    | FCOS
    | rate(0.01)
    | {"optim_wrapper.clip_grad": None, "model.neck.residual_to_extra_level": True},
    "retinanet_r50_drfpn_3xb8-1x_coco": DRFPN | rate(0.01),
    "fcos_r50_drfpn_gn-head_3xb8-1x_coco": without(
        DRFPN, "param_scheduler.0.start_factor"
    )
    | FCOS
    | rate(0.02)
    | {"optim_wrapper.clip_grad": CLIPPED},
    "faster-rcnn_r50_drfpn_3xb8-1x_coco": DRFPN_TWO_STAGE
    | {
        "model.rpn_head.loss_bbox.type": "L1Loss",
        "model.roi_head.bbox_head.loss_bbox.type": "L1Loss",
        "model.train_cfg.rpn.allowed_border": -1,
        "model.train_cfg.rpn_proposal.max_per_img": 1000,
        "model.train_cfg.rcnn.assigner.match_low_quality": False,
    },
    "mask-rcnn_r50_drfpn_3xb8-1x_coco": DRFPN_TWO_STAGE
    | {
        "model.rpn_head.loss_bbox.type": "L1Loss",
        "model.train_cfg.rpn_proposal.max_per_img": 1000,
        "model.train_cfg.rcnn.assigner.match_low_quality": True,
    },
    "cascade-mask-rcnn_r50_drfpn_3xb8-1x_coco": DRFPN_TWO_STAGE
    | {
        "model.rpn_head.loss_bbox": smooth_l1(1 / 9),
        "model.roi_head.bbox_head.0.loss_bbox": smooth_l1(1.0),
        "model.train_cfg.rpn.allowed_border": 0,
        "model.train_cfg.rpn_proposal.max_per_img": 2000,
    },
    # maskrcnn-benchmark's, which the paper took.
    "retinanet_r50_asff_1x_coco": COCO
    | without(RETINANET, "model.bbox_head.anchor_generator.type")
    | rate(0.01)
    | {
        "model.backbone.norm_cfg.requires_grad": False,
        **at("model.neck.0", init_cfg=dict(type="Caffe2Xavier", layer="Conv2d")),
        "model.neck.0.relu_before_extra_convs": True,
        "model.bbox_head.anchor_generator.center_offset": 0.5,
        **at("optim_wrapper", paramwise_cfg=FASTER_BIASES, clip_grad=None),
        "param_scheduler.0.start_factor": 1 / 3,
    },
    "yolov3_d53_asff_4xb16-300e_coco": {
        **at("model.backbone", norm_eval=False, norm_cfg__type="SyncBN"),
        **at("model.neck", **{f"{i}__norm_cfg__type": "SyncBN" for i in range(2)}),
        **at("model.bbox_head.loss_cls", loss_weight=1 / 16),
        **at("model.bbox_head.loss_conf", loss_weight=1 / 16),
        **at("model.bbox_head.loss_xy", loss_weight=2 / 16),
        **at("model.bbox_head.loss_wh", loss_weight=2 / 16),
        "model.bbox_head.anchor_generator.base_sizes": [
            [(116, 90), (156, 198), (121, 240)],
            [(30, 61), (62, 45), (42, 119)],
            [(10, 13), (16, 30), (33, 23)],
        ],
        **at("model.test_cfg", conf_thr=0.001, score_thr=0.001),
        **at("model.test_cfg", nms__iou_threshold=0.65),
        **at("optim_wrapper", optimizer__weight_decay=5e-4, clip_grad=None),
        **rate(0.001),
        "train_cfg.max_epochs": 300,
        "train_dataloader.dataset.pipeline.3.ratio_range": (1, 4),
        "train_dataloader.dataset.pipeline.4.min_ious": (0.1, 0.3, 0.5, 0.7, 0.9),
        "train_dataloader.dataset.pipeline.8.min_gt_bbox_wh": (6, 6),
    },
}
for kind in ("1xb2", "1xb2-sm", "1xb2-msm"):
    name = f"s-alpha-fpn_{kind}-1x_tinyperson"
    RECIPES[f"retinanet_r50_{name}"] = RETINANET_S_ALPHA
    RECIPES[f"faster-rcnn_r50_{name}"] = FASTER_RCNN_S_ALPHA
for kind in ("sm", "msm"):
    name = f"s-alpha-fpn_8xb4-{kind}-45k_coco"
    RECIPES[f"retinanet_r50_{name}"] = RETINANET | P2_P6 | SCALE_MATCH
    RECIPES[f"faster-rcnn_r50_{name}"] = FASTER_RCNN | SCALE_MATCH
for rest in ("augfpn_gn-head_4xb4-1x_coco", "drfpn_gn-head_3xb8-1x_coco"):
    RECIPES[f"fcos_r50-caffe_{rest}"] = RECIPES[f"fcos_r50_{rest}"] | CAFFE

# "You Should Look at All Objects" has no released code: its text, and mmdet's rate of
# one-stage detectors.
LOOK_AT_ALL = {
    "train_cfg.max_epochs": 12,
    "param_scheduler.1.milestones": [9, 11],
}
for lr, names in {
    0.01: "retinanet_r50_cfg-fpn fcos_r50_cfg-fpn_gn-head atss_r101_cfg-fpn "
    "freeanchor_r101_cfg-fpn fsaf_r101_cfg-fpn retinanet_r101_fpn_auxiliary "
    "retinanet_r101_fpn_auxiliary-uncertainty",
    0.02: "faster-rcnn_r50_cfg-fpn mask-rcnn_r101_cfg-fpn cascade-rcnn_r101_cfg-fpn "
    "cascade-mask-rcnn_r101_cfg-fpn faster-rcnn_r101_fpn_auxiliary "
    "faster-rcnn_r101_fpn_auxiliary-uncertainty faster-rcnn_r101-caffe-dc5_auxiliary",
}.items():
    RECIPES |= {f"{name}_1x_coco": LOOK_AT_ALL | rate(lr) for name in names.split()}


@pytest.mark.parametrize("name", RECIPES)
def test_config_has_the_released_values(name: str) -> None:
    config = load_config(name)
    found = {key: value_at(config, key) for key in RECIPES[name]}
    for value in found.values():
        if isinstance(value, dict):
            value.pop("_scope_", None)
    assert found == RECIPES[name]


def test_the_table_has_what_the_metafiles_call_a_reproduction() -> None:
    text = "".join(p.read_text() for p in configs_folder().glob("*/metafile.yml"))
    models = re.findall(r"- Name: (\S+)\n(?:.+\n)*?      Recipe: (\w+)", text)
    assert {name for name, recipe in models if recipe == "reproduction"} == set(RECIPES)


# ------------------------------------------------------------- what the values compute


def test_box_loss_of_retinanet_is_that_of_maskrcnn_benchmark() -> None:
    """Weights 10, 10, 5, 5; smooth L1 with β 0.11, over four times the positives."""
    settings = load_config("retinanet_r50_fpn_1xb2-1x_tinyperson").model.bbox_head
    coder = TASK_UTILS.build(settings.bbox_coder)
    loss = MODELS.build(settings.loss_bbox)
    random = torch.Generator().manual_seed(0)
    centres, sides = torch.rand(2, 2, 7, 2, generator=random) * 30 + 5
    predicted = torch.randn(7, 4, generator=random)
    anchors, boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=2)
    offsets = 10 * (centres[1] - centres[0]) / sides[0]
    target = torch.cat([offsets, 5 * (sides[1] / sides[0]).log()], dim=1)
    distance = (predicted - target).abs()
    released = torch.where(
        distance < 0.11, distance**2 / 0.22, distance - 0.055
    ).sum() / (4 * 7)
    ours = loss(predicted, coder.encode(anchors, boxes), avg_factor=7.0)
    assert ours.item() == pytest.approx(released.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "head", "sides"),
    [
        # 0.5, 1 and 2 at stride 4, twice the stride; the larger scales follow.
        (
            "retinanet_r50_fpn_1xb2-1x_tinyperson",
            "bbox_head",
            {0: (12.0, 6.0), 3: (8.0, 8.0), 6: (6.0, 12.0)},
        ),
        # 0.5, 1.3 and 2 for 8.31 px at stride 4.
        (
            "faster-rcnn_r50_fpn_1xb2-1x_tinyperson",
            "rpn_head",
            {0: (12.465, 6.2325), 1: (8.31, 10.3875), 2: (6.2325, 12.465)},
        ),
    ],
)
def test_anchors_are_the_released_ones(
    name: str, head: str, sides: dict[int, tuple[float, float]]
) -> None:
    settings = load_config(name).model[head].anchor_generator
    generator = TASK_UTILS.build(settings)
    for stride, anchors in zip((4, 8, 16, 32, 64), generator.base_anchors, strict=True):
        centres = (anchors[:, :2] + anchors[:, 2:]) / 2
        torch.testing.assert_close(centres, torch.full_like(centres, stride / 2))
    found = generator.base_anchors[0][:, 2:] - generator.base_anchors[0][:, :2]
    for anchor, expected in sides.items():
        torch.testing.assert_close(found[anchor], torch.tensor(expected))
    # Coarse strides are rounded by little: the order of anchors is mmdet's.
    plain = TASK_UTILS.build(dict(settings, type="AnchorGenerator"))
    plain = plain.base_anchors[-1][:, 2:] - plain.base_anchors[-1][:, :2]
    found = generator.base_anchors[-1][:, 2:] - generator.base_anchors[-1][:, :2]
    torch.testing.assert_close(found, plain, rtol=0.02, atol=0)


def test_a_sliver_at_the_border_does_not_make_every_anchor_positive() -> None:
    """Without minimum mmdet gives a box that no anchor overlaps all of them."""
    model = load_config("faster-rcnn_r50_fpn_1xb2-1x_tinyperson").model
    generator = TASK_UTILS.build(model.rpn_head.anchor_generator)
    sizes = [(512 // stride, 640 // stride) for stride in (4, 8, 16, 32, 64)]
    priors = torch.cat(generator.grid_priors(sizes, device="cpu"))
    inside = (priors[:, :2] >= 0).all(1) & (priors[:, 2] < 640) & (priors[:, 3] < 512)
    priors = priors[inside]
    truth = InstanceData(
        bboxes=torch.tensor([[0.0, 200, 1.5, 203], [60, 60, 63, 66]]),
        labels=torch.zeros(2, dtype=torch.long),
    )
    assert bbox_overlaps(truth.bboxes, priors)[0].max() == 0
    settings = model.train_cfg.rpn.assigner
    counts = {
        minimum: (
            TASK_UTILS.build(dict(settings, min_pos_iou=minimum))
            .assign(InstanceData(priors=priors), truth)
            .gt_inds
            > 0
        ).sum()
        for minimum in (0, settings.min_pos_iou)
    }
    assert counts[0] > 0.9 * len(priors)
    assert 0 < counts[settings.min_pos_iou] < 10
