"""Detectors × forms of auxiliary supervision that the system tests run over."""

import copy
import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from tests.tiny_detectors import load_config, set_statistic_factors, shrink

IMAGE_SIZE = (64, 96)  # (height, width) in pixels
SMALL_HEAD = dict(fc_out_channels=16)
FEW_BOXES = dict(nms_pre=40, max_per_img=40)
# What a one-stage detector's boxes are sampled with: AugFPN's, with fewer RoIs.
FEW_SAMPLES = dict(
    type="RandomSampler",
    num=32,
    pos_fraction=0.25,
    neg_pos_ub=-1,
    add_gt_as_proposals=True,
)
LATERALS = dict(type="RoIAuxiliary", bbox_head=SMALL_HEAD)
BACKBONE = dict(
    type="RoIAuxiliary",
    levels=["c2", "c3", "c4"],
    feature_channels=16,
    shared_head=False,
    uncertainty_weight=0.5,
    bbox_head=SMALL_HEAD,
)
DENSE = dict(type="DenseAuxiliary", feature_channels=32)
ONE_STAGE = dict(proposals=FEW_BOXES, sampler=FEW_SAMPLES)


@dataclass(frozen=True)
class Case:
    """A detector and the auxiliary supervision that it gets.

    Attributes:
        config: one of mmdet's, ``mmdet::...``, or the name of a shipped one.
        auxiliary: the config's one new entry.
        changes: further ones, as ``--cfg-options``.
    """

    config: str
    auxiliary: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)


CASES = {
    "retinanet-dense": Case(
        "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
        DENSE | dict(uncertainty_weight=0.5),
    ),
    "retinanet-asff-dense-two-strides": Case(
        "retinanet_r50_asff_1x_coco", DENSE | dict(strides=[32, 16])
    ),
    "retinanet-s-alpha-roi": Case(
        "retinanet_r50_s-alpha-fpn_1x_coco", LATERALS | ONE_STAGE
    ),
    "fcos-dense": Case(
        "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
        DENSE | dict(uncertainty_weight=0.5, strides=[8, 32]),
    ),
    "fcos-augfpn-roi": Case(
        "fcos_r50_augfpn_gn-head_4xb4-1x_coco",
        LATERALS | ONE_STAGE | dict(uncertainty_weight=0.5),
    ),
    "atss-cfg-fpn-dense": Case(
        "atss_r101_cfg-fpn_1x_coco", DENSE | dict(uncertainty_weight=0.5)
    ),
    "atss-dense-certain": Case("mmdet::atss/atss_r50_fpn_1x_coco.py", DENSE),
    "atss-roi": Case("mmdet::atss/atss_r50_fpn_1x_coco.py", LATERALS | ONE_STAGE),
    "gfl-dense": Case("mmdet::gfl/gfl_r50_fpn_1x_coco.py", DENSE),
    "freeanchor-roi": Case("freeanchor_r101_cfg-fpn_1x_coco", LATERALS | ONE_STAGE),
    "faster-rcnn-laterals": Case(
        "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", LATERALS
    ),
    "faster-rcnn-s-alpha-backbone": Case(
        "faster-rcnn_r50_s-alpha-fpn_1x_coco", BACKBONE
    ),
    "faster-rcnn-augfpn-assigned": Case(
        "faster-rcnn_r50_augfpn_1x_coco",
        LATERALS | dict(assignment="assigned", uncertainty_weight=0.5),
    ),
    "faster-rcnn-pafpn": Case(
        "mmdet::pafpn/faster-rcnn_r50_pafpn_1x_coco.py", LATERALS
    ),
    "faster-rcnn-asff": Case(
        "faster-rcnn_r50_asff_1x_coco",
        LATERALS | dict(levels=["m3", "c4"], feature_channels=16),
    ),
    "faster-rcnn-drfpn": Case("faster-rcnn_r50_drfpn_3xb8-1x_coco", LATERALS),
    "faster-rcnn-dc5": Case(
        "mmdet::faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco.py", BACKBONE
    ),
    "mask-rcnn-augfpn": Case(
        "mask-rcnn_r50_augfpn_1x_coco",
        LATERALS | dict(mask_loss=True, uncertainty_weight=0.5),
    ),
    "cascade-rcnn": Case(
        "mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
        BACKBONE | dict(assignment="assigned"),
    ),
    # It samples twice in each stage but the last.
    "htc-mask-rcnn": Case(
        "mmdet::htc/htc-without-semantic_r50_fpn_1x_coco.py",
        LATERALS | dict(mask_loss=True),
    ),
    "cascade-mask-rcnn-drfpn": Case(
        "cascade-mask-rcnn_r50_drfpn_3xb8-1x_coco",
        LATERALS | dict(assignment="assigned", mask_loss=True),
    ),
}


def detector_config(name: str, auxiliary: Any = "of the case") -> ConfigDict:
    """Return the small config of a case's detector, as a user would write it.

    Args:
        name: of the case.
        auxiliary: another one; ``None`` gives the plain detector, of mmdet's type.
    """
    case = CASES[name]
    config = copy.deepcopy(_plain_config(name))
    if auxiliary is None:
        return config
    config.type = f"Auxiliary{config.type}"
    config.auxiliary = copy.deepcopy(
        case.auxiliary if auxiliary == "of the case" else auxiliary
    )
    return config


@functools.cache
def _plain_config(name: str) -> ConfigDict:
    case = CASES[name]
    if case.config.startswith("mmdet::"):
        config = Config.fromstring(f"_base_ = {case.config!r}", ".py")
    else:
        config = load_config(case.config)
    model = config.model
    # Some of the shipped detectors have auxiliary losses already.
    model.type = model.type.removeprefix("Auxiliary")
    model.pop("auxiliary", None)
    shrink(config)
    _take_few_boxes([model.get("train_cfg"), model.get("test_cfg")])
    config.merge_from_dict(case.changes)
    return model


def _take_few_boxes(settings: Any) -> None:
    """Let samplers take 32 RoIs of 50, and testing find 5 objects, however unlikely."""
    if isinstance(settings, list):
        for part in settings:
            _take_few_boxes(part)
    elif isinstance(settings, dict):
        if "sampler" in settings and "num" in settings["sampler"]:
            settings["sampler"]["num"] = 32
        if "nms_pre" in settings:
            settings["nms_pre"] = 50
        if settings.get("max_per_img", 0) > 100:
            settings["max_per_img"] = 50
        if settings.get("max_per_img") == 100:
            settings["max_per_img"] = 5
        if "score_thr" in settings:
            settings["score_thr"] = 1e-4
        for part in settings.values():
            _take_few_boxes(part)


def build(config: ConfigDict, seed: int = 0) -> nn.Module:
    """Build a detector in training mode, with the weights of a seed."""
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    set_statistic_factors(model)
    return model.train()


@functools.cache
def _built(name: str, auxiliary: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    model = build(detector_config(name, auxiliary))
    return model, copy.deepcopy(model.state_dict())


def supervised(name: str) -> nn.Module:
    """Return a case's detector with the weights of seed 0; it is built once."""
    model, weights = _built(name, "of the case")
    model.load_state_dict(weights)
    return model.train()


def plain(name: str) -> nn.Module:
    """Return the detector without auxiliary losses, otherwise the same."""
    model, weights = _built(name, None)
    model.load_state_dict(weights)
    return model.train()


BATCHES = ("mixed", "empty", "ignored", "mixed-ignored", "full")


def batch(kind: str, masks: bool = False) -> tuple[Tensor, list[DetDataSample]]:
    """Return two images and their samples.

    Args:
        kind: ``"mixed"``: objects, nothing. ``"empty"``: nothing. ``"ignored"``: boxes
            to ignore that cover the images. ``"mixed-ignored"``: objects, ignored
            boxes. ``"full"``: objects in both.
        masks: give the objects masks.
    """
    contents = {
        "mixed": ("objects", "nothing"),
        "empty": ("nothing", "nothing"),
        "ignored": ("ignored", "ignored"),
        "mixed-ignored": ("objects", "ignored"),
        "full": ("objects", "others"),
        "unreachable": ("small", "small"),
    }[kind]
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, *IMAGE_SIZE, generator=generator)
    return images, [sample(content, masks) for content in contents]


def sample(content: str, masks: bool = False) -> DetDataSample:
    """Return one image's sample: ``objects``, ``others``, ``nothing``, ``ignored``."""
    height, width = IMAGE_SIZE
    boxes, labels = [], []
    ignored = []
    if content == "objects":
        boxes = [[4.0, 4, 36, 30], [40, 8, 88, 60], [60.3, 44.2, 76, 58]]
        labels = [0, 1, 0]
    elif content == "small":  # between the points of a head
        boxes, labels = [[5.5, 5.5, 6.5, 6.5]], [0]
    elif content == "others":
        boxes, labels = [[10.0, 20, 50, 60]], [1]
    elif content == "ignored":
        ignored = [[0.0, 0, width, height]]
    truths = InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
    )
    crowds = InstanceData(
        bboxes=torch.tensor(ignored).reshape(-1, 4),
        labels=torch.zeros(len(ignored), dtype=torch.long),
    )
    if masks:
        truths.masks = _rectangles(boxes)
        crowds.masks = _rectangles(ignored)
    result = DetDataSample()
    result.set_metainfo(
        dict(
            img_id=0,
            img_shape=IMAGE_SIZE,
            ori_shape=IMAGE_SIZE,
            pad_shape=IMAGE_SIZE,
            batch_input_shape=IMAGE_SIZE,
            scale_factor=(1.0, 1.0),
        )
    )
    result.gt_instances = truths
    result.ignored_instances = crowds
    return result


def _rectangles(boxes: list[list[float]]) -> BitmapMasks:
    masks = np.zeros((len(boxes), *IMAGE_SIZE), dtype=np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[int(top) : int(bottom), int(left) : int(right)] = 1
    return BitmapMasks(masks, *IMAGE_SIZE)


def losses_of(model: nn.Module, kind: str, seed: int = 0) -> dict[str, Any]:
    """Return a detector's losses of a batch, its samples drawn with a seed."""
    images, samples = batch(kind, masks=model.with_mask)
    torch.manual_seed(seed)
    return model(images, samples, mode="loss")


def has_rpn(model: nn.Module) -> bool:
    """Tell whether a detector has two stages."""
    return getattr(model, "with_rpn", False)


def gradients_of(model: nn.Module, total: Tensor) -> dict[str, Tensor | None]:
    """Return the gradient of a scalar for each trained parameter, by name."""
    trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(
        total, list(trained.values()), allow_unused=True, retain_graph=True
    )
    return dict(zip(trained, found, strict=True))


def auxiliary_losses(losses: dict[str, Any]) -> dict[str, Tensor]:
    """Return those of the losses that the auxiliary supervision adds up."""
    return {k: v for k, v in losses.items() if k.startswith("aux.") and "loss" in k}
