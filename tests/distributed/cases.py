"""Detectors that are trained in several processes, and what each process sees."""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import Tensor, nn

from tests import tiny_detectors
from tests.data_samples import data_sample

IMAGE_SIZE = (64, 96)  # (height, width) in pixels
IMAGES_PER_PROCESS = 2


@dataclass(frozen=True)
class Case:
    """A shipped config, and how one process gets the gradient that several have.

    Attributes:
        config: name of the shipped config.
        changes: options that the method's README lists, as ``--cfg-options``.
        gradient: what the gradient of several processes equals. ``"mean"``: the mean
            of the processes' own, because each loss is divided by a number of its own
            process. ``"global"``: that of one process with all images, because the
            heads divide by means over all processes. ``"neither"``: losses of both
            kinds, or objects assigned by costs that nearly tie, as Sparse R-CNN's.
    """

    config: str
    changes: dict[str, Any] = field(default_factory=dict)
    gradient: str = "mean"

    @property
    def gradient_dtype(self) -> torch.dtype:
        """What gradients are compared in; mmcv's NMS of proposals has no float64.

        A process's own loss is computed in the same order alone and among others, and
        float32 is enough. One process with all images adds up in another order.
        """
        return torch.float64 if self.gradient == "global" else torch.float32


CASES = {
    "s-alpha": Case("faster-rcnn_r50_s-alpha-fpn_1x_coco"),
    "s-alpha-attention": Case(
        "retinanet_r50_s-alpha-fpn_1x_coco", {"model.neck.fusion_factor": "attention"}
    ),
    "asff-behind-s-alpha": Case("retinanet_r50_s-alpha-fpn-asff_1x_coco"),
    "asff-fcos": Case("fcos_r50_asff_gn-head_1x_coco", gradient="global"),
    "auxiliary-retinanet": Case("retinanet_r101_fpn_auxiliary-uncertainty_1x_coco"),
    "cfg-auxiliary": Case("faster-rcnn_r101_cfg-fpn_auxiliary-uncertainty_1x_coco"),
    "cfg-atss": Case("atss_r101_cfg-fpn_1x_coco", gradient="global"),
    "cfg-auxiliary-fcos": Case(
        "fcos_r50_cfg-fpn_auxiliary-uncertainty_gn-head_1x_coco", gradient="neither"
    ),
    "cfg-auxiliary-fcos-certain": Case(
        "fcos_r50_cfg-fpn_auxiliary-uncertainty_gn-head_1x_coco",
        {"model.auxiliary.uncertainty_weight": None},
        gradient="global",
    ),
    "augfpn-assigned": Case(
        "faster-rcnn_r50_augfpn_1x_coco",
        {
            "model.auxiliary.assignment": "assigned",
            "model.auxiliary.uncertainty_weight": 0.5,
        },
    ),
    "augfpn-cascade-mask": Case("cascade-mask-rcnn_r50_augfpn_1x_coco"),
    "augfpn-fcos": Case("fcos_r50_augfpn_gn-head_4xb4-1x_coco", gradient="neither"),
    "drfpn-cascade-mask": Case("cascade-mask-rcnn_r50_drfpn_3xb8-1x_coco"),
    "drfpn-fcos": Case("fcos_r50_drfpn_gn-head_3xb8-1x_coco", gradient="global"),
    "cfg-fsaf": Case("fsaf_r101_cfg-fpn_1x_coco"),
    "cfg-freeanchor": Case("freeanchor_r101_cfg-fpn_1x_coco"),
    "cfg-sparse": Case("sparse-rcnn_r50_cfg-fpn_1x_coco", gradient="neither"),
}


@functools.cache
def _config_of(name: str) -> Config:
    case = CASES[name]
    config = tiny_detectors.load_config(case.config)
    config.merge_from_dict(case.changes)
    tiny_detectors.shrink(config)
    tiny_detectors.take_few_boxes(
        [config.model.get("train_cfg"), config.model.get("test_cfg")]
    )
    return config


def config_of(name: str) -> Config:
    """Return a case's config, made small; everything else is as shipped."""
    return copy.deepcopy(_config_of(name))


def build(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Build a case's detector in training mode, with the weights of seed 0."""
    return tiny_detectors.build(config_of(name).model).to(dtype)


def freeze_norms(model: nn.Module) -> nn.Module:
    """Let batch norms use their running statistics, whatever the batch."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def batch_of(rank: int, step: int, empty: bool, masks: bool) -> dict[str, list]:
    """Return what a process's data loader gives in a step.

    Images and objects differ from process to process and from step to step; the
    second of the images often has no object, and if ``empty`` none has.
    """
    random = np.random.default_rng([rank, step])
    counts = (0, 0) if empty else (random.integers(1, 5), random.integers(0, 3))
    height, width = IMAGE_SIZE
    images = random.integers(0, 256, (IMAGES_PER_PROCESS, 3, height, width))
    return dict(
        inputs=list(torch.from_numpy(images.astype(np.uint8))),
        data_samples=[_sample(random, int(count), masks) for count in counts],
    )


def joined(batches: list[dict[str, list]]) -> dict[str, list]:
    """Return several processes' batches as one."""
    return {key: [item for batch in batches for item in batch[key]]
            for key in ("inputs", "data_samples")}  # fmt: skip


def losses_of(model: nn.Module, batch: dict[str, list], seed: int) -> dict[str, Any]:
    """Return the losses of a batch; its samples are drawn with a seed."""
    inner = getattr(model, "module", model)
    torch.manual_seed(seed)
    data = inner.data_preprocessor(copy.deepcopy(batch), training=True)
    images = data["inputs"].to(next(inner.parameters()).dtype)
    return model(images, data["data_samples"], mode="loss")


def _sample(random: np.random.Generator, count: int, masks: bool) -> DetDataSample:
    height, width = IMAGE_SIZE
    sides = random.uniform(6, 48, (count, 2))
    corners = random.uniform(0, 1, (count, 2)) * (np.array([width, height]) - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    labels = random.integers(0, 2, count)
    return data_sample(boxes, labels, size=IMAGE_SIZE, masks=masks)


def gradients(model: nn.Module, losses: dict[str, Any]) -> dict[str, Tensor]:
    """Return the gradient of the total loss: every trained parameter must have one."""
    inner = getattr(model, "module", model)
    model.zero_grad()
    inner.parse_losses(losses)[0].backward()
    trained = [(k, p) for k, p in inner.named_parameters() if p.requires_grad]
    without = [key for key, parameter in trained if parameter.grad is None]
    assert not without, f"no gradient for {without}"
    return {key: parameter.grad.clone() for key, parameter in trained}


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest expected value; 0 for 0 and 0."""
    difference = (found - expected).abs().max().item()
    largest = expected.abs().max().item()
    if largest == 0:
        return math.inf if difference else 0.0
    return difference / largest
