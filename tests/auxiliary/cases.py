"""Detectors × forms of auxiliary supervision that the system tests run over."""

import copy
import functools
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from torch import Tensor, nn

from tests import tiny_detectors
from tests.data_samples import data_sample
from tests.tiny_detectors import load_config, shrink, take_few_boxes

SMALL_HEAD = dict(fc_out_channels=16)
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

UNCERTAIN = dict(uncertainty_weight=0.5)
ASSIGNED = dict(assignment="assigned")
MASKS = dict(mask_loss=True)
# A config, of mmdet where it has a folder, else shipped, and its one new entry.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "retinanet-dense": ("retinanet/retinanet_r50_fpn_1x_coco", DENSE | UNCERTAIN),
    "retinanet-asff-dense-two-strides": (
        "retinanet_r50_asff_1x_coco",
        DENSE | dict(strides=[32, 16]),
    ),
    "fcos-dense": (
        "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
        DENSE | UNCERTAIN | dict(strides=[8, 32]),
    ),
    "fcos-augfpn-roi": (
        "fcos_r50_augfpn_gn-head_4xb4-1x_coco",
        LATERALS | UNCERTAIN,
    ),
    "atss-cfg-fpn-dense": ("atss_r101_cfg-fpn_1x_coco", DENSE | UNCERTAIN),
    "faster-rcnn-s-alpha-backbone": ("faster-rcnn_r50_s-alpha-fpn_1x_coco", BACKBONE),
    "faster-rcnn-augfpn-assigned": (
        "faster-rcnn_r50_augfpn_1x_coco",
        LATERALS | ASSIGNED | UNCERTAIN,
    ),
    "faster-rcnn-asff": (
        "faster-rcnn_r50_asff_1x_coco",
        LATERALS | dict(levels=["m3", "c4"], feature_channels=16),
    ),
    "faster-rcnn-dc5": ("faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco", BACKBONE),
    "mask-rcnn-augfpn": ("mask-rcnn_r50_augfpn_1x_coco", LATERALS | MASKS | UNCERTAIN),
    "cascade-rcnn": ("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco", BACKBONE | ASSIGNED),
    # It samples twice in each stage but the last.
    "htc-mask-rcnn": ("htc/htc-without-semantic_r50_fpn_1x_coco", LATERALS | MASKS),
}


def detector_config(name: str, auxiliary: Any = "of the case") -> ConfigDict:
    """Return the small config of a case's detector, as a user would write it.

    Args:
        name: of the case.
        auxiliary: another one; ``None`` gives the plain detector, of mmdet's type.
    """
    config = copy.deepcopy(_plain_config(name))
    if auxiliary is not None:
        config.type = f"Auxiliary{config.type}"
        own = CASES[name][1] if auxiliary == "of the case" else auxiliary
        config.auxiliary = copy.deepcopy(own)
    return config


@functools.cache
def _plain_config(name: str) -> ConfigDict:
    base = CASES[name][0]
    if "/" in base:
        config = Config.fromstring(f"_base_ = 'mmdet::{base}.py'", ".py")
    else:
        config = load_config(base)
    model = config.model
    # Some of the shipped detectors have auxiliary losses already.
    model.type = model.type.removeprefix("Auxiliary")
    model.pop("auxiliary", None)
    shrink(config)
    take_few_boxes([model.get("train_cfg"), model.get("test_cfg")])
    return model


def build(config: ConfigDict) -> nn.Module:
    """Build a detector whose auxiliary losses sample few of its own boxes."""
    model = tiny_detectors.build(config)
    form = getattr(model, "auxiliary", None)
    if proposals := getattr(form, "proposals", None):
        proposals.config.update(nms_pre=40, max_per_img=40)
        proposals.sampler.num = 32
    return model


@functools.cache
def _built(name: str, auxiliary: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    model = build(detector_config(name, auxiliary))
    return model, copy.deepcopy(model.state_dict())


def supervised(name: str, auxiliary: Any = "of the case") -> nn.Module:
    """Return a case's detector with the weights of seed 0; it is built once."""
    model, weights = _built(name, auxiliary)
    model.load_state_dict(weights)
    return model.train()


def plain(name: str) -> nn.Module:
    return supervised(name, auxiliary=None)


IMAGES = {
    "objects": dict(boxes=[[4, 4, 36, 30], [40, 8, 88, 60], [60.3, 44.2, 76, 58]]),
    "others": dict(boxes=[[10, 20, 50, 60]], labels=[1]),
    "small": dict(boxes=[[5.5, 5.5, 6.5, 6.5]]),  # between the points of a head
    "nothing": dict(),
    "ignored": dict(ignored=[[0, 0, 96, 64]]),
}
BATCHES = {
    "mixed": ("objects", "nothing"),
    "empty": ("nothing", "nothing"),
    "ignored": ("ignored", "ignored"),
    "full": ("objects", "others"),
    "unreachable": ("small", "small"),
}


def batch(kind: str, masks: bool = False) -> tuple[Tensor, list[DetDataSample]]:
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    return images, [data_sample(**IMAGES[x], masks=masks) for x in BATCHES[kind]]


def losses_of(model: nn.Module, kind: str, seed: int = 0) -> dict[str, Any]:
    """Return a detector's losses of a batch, its samples drawn with a seed."""
    images, samples = batch(kind, masks=model.with_mask)
    torch.manual_seed(seed)
    return model(images, samples, mode="loss")


def has_rpn(model: nn.Module) -> bool:
    return getattr(model, "with_rpn", False)


def gradients_of(model: nn.Module, total: Tensor) -> dict[str, Tensor | None]:
    trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(
        total, list(trained.values()), allow_unused=True, retain_graph=True
    )
    return dict(zip(trained, found, strict=True))


def auxiliary_losses(losses: dict[str, Any]) -> dict[str, Tensor]:
    """Return those of the losses that the auxiliary supervision adds up."""
    return {k: v for k, v in losses.items() if k.startswith("aux.") and "loss" in k}


def hooks_of(model: nn.Module) -> list[str]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return [
        f"{path}.{kind}"
        for path, module in model.named_modules()
        for kind in kinds
        if getattr(module, kind)
    ]
