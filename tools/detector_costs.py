"""Counts what the detector of a config costs, for docs/model_zoo.md."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from torch import Tensor, nn

from fpn_necks.config_tools import build_without_weights
from fpn_necks.costs import count_multiply_adds, count_parameters
from fpn_necks.roi_extractors import SoftRoIExtractor

Size = tuple[int, int]  # height and width in pixels


def count_costs(
    config: Config, sizes: Sequence[Size]
) -> tuple[int, int, dict[Size, int]]:
    """Count what a config's detector costs.

    Convolutions and matrix products of backbone, neck and heads count. Not counted:
    normalisation, activation, interpolation, grid sampling, RoIAlign, NMS and all other
    post-processing. The second stage sees as many RoIs as the RPN passes on at most
    when testing, masks and grids as many as there are detections at most.

    Args:
        config: Of a detector of one or two stages; it is not changed.
        sizes: Sizes of the one image.

    Returns:
        The parameters of the tested detector, those that only training has, and the
        multiply-adds per size.

    Raises:
        TypeError: If the detector has a part whose costs this does not know.
    """
    return _count(json.dumps(config.model.to_dict()), tuple(sizes))


@functools.lru_cache(maxsize=64)  # configs that differ in the data share their model
def _count(model: str, sizes: tuple[Size, ...]) -> tuple[int, int, dict[Size, int]]:
    register_all_modules(init_default_scope=False)
    # mmengine's base model looks for the preprocessor in the scope of the moment.
    detector = build_without_weights(ConfigDict(json.loads(model), _scope_="mmdet"))
    # torch's counter fails where a module gets a trained parameter as its input.
    detector.eval().requires_grad_(False)
    auxiliary = getattr(detector, "auxiliary", None)
    training_only = 0 if auxiliary is None else count_parameters(auxiliary)
    counts = {
        size: count_multiply_adds(detector, torch.empty(1, 3, *size), call=_forward)
        for size in sizes
    }
    return count_parameters(detector) - training_only, training_only, counts


def _forward(detector: nn.Module, image: Tensor) -> None:
    maps = detector.extract_feat(image)
    if hasattr(detector, "roi_head"):
        _forward_two_stages(detector, maps)
    else:
        detector.bbox_head(maps)


def _forward_two_stages(detector: nn.Module, maps: Sequence[Tensor]) -> None:
    head, rpn = detector.roi_head, detector.rpn_head
    if head.with_shared_head:
        raise TypeError("a shared head of the second stage cannot be counted")
    num_detections = detector.test_cfg.rcnn.max_per_img
    learnt = hasattr(rpn, "init_proposal_features")  # Sparse R-CNN's
    if learnt:
        num_rois = rpn.num_proposals
    else:
        rpn(maps)
        num_rois = detector.test_cfg.rpn.max_per_img
    pairs = _stages(head.bbox_roi_extractor, head.bbox_head)
    for extractor, box_head in pairs:
        features = _pool(extractor, num_rois)
        if learnt:
            box_head(features, rpn.init_proposal_features.weight[None])
        else:
            box_head(features)
    # After the boxes, on the detections.
    if head.with_mask:
        for extractor, mask_head in _stages(head.mask_roi_extractor, head.mask_head):
            mask_head(_pool(extractor, num_detections))
    if hasattr(head, "grid_head"):
        head.grid_head.test_mode = True
        head.grid_head(_pool(head.grid_roi_extractor, num_detections))


def _stages(extractor: Any, head: Any) -> list[tuple[Any, Any]]:
    if isinstance(head, nn.ModuleList):
        return list(zip(extractor, head, strict=True))
    return [(extractor, head)]


def _pool(extractor: nn.Module, num_rois: int) -> Tensor:
    """Do what an extractor does to RoIs, but for the pooling, which multiplies little.

    mmcv's RoIAlign has no form on the meta device, and which level a RoI belongs to is
    a matter of data.
    """
    layers = extractor.roi_layers
    shape = (num_rois, extractor.out_channels, *layers[0].output_size)
    pooled = [torch.empty(shape, device="meta") for _ in layers]
    if isinstance(extractor, SingleRoIExtractor):
        return pooled[0]
    if isinstance(extractor, SoftRoIExtractor):
        return extractor.fusion(pooled)
    raise TypeError(f"RoIs of {type(extractor).__name__} cannot be counted")
