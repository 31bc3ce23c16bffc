"""Costs that are counted, without weights and data: parameters and multiply-adds."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import fpn_necks  # noqa: F401  registers what configs may name
from fpn_necks.roi_extractors import SoftRoIExtractor

from ..config_tools import build_without_weights

Size = tuple[int, int]  # height and width in pixels


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, trained or frozen."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_multiply_adds(
    module: nn.Module,
    *inputs: Any,
    call: Callable[..., Any] | None = None,
) -> int:
    """Count the multiply-adds of convolutions and matrix products in a forward pass.

    This is what papers call FLOPs: one multiplication with its addition counts once;
    element-wise operations, normalisation and sampling are left out. Nothing is
    computed: a copy of the module runs on the meta device.

    Args:
        module: the module; it is not changed.
        *inputs: its inputs; tensors, also inside lists and tuples, on any device.
        call: what to run on the copy and the inputs; default: the copy itself.

    Raises:
        NotImplementedError: an operation does not exist on the meta device.
    """
    # Deep copies keep buffers and hooks; to_empty moves without copying values.
    twin = copy.deepcopy(module).to_empty(device="meta")
    twin.eval()  # mmdet's backbones return nothing here
    arguments = [_to_meta(value) for value in inputs]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if call is None:
            twin(*arguments)
        else:
            call(twin, *arguments)
    return counter.get_total_flops() // 2


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    if isinstance(value, list | tuple):
        return type(value)(_to_meta(entry) for entry in value)
    return value


@dataclass(frozen=True)
class Cost:
    """What a detector costs on one image.

    Attributes:
        parameters: Number of parameters of the tested detector.
        training_parameters: Number of further ones that only training has.
        multiply_adds: Per size of the image.
    """

    parameters: int
    training_parameters: int
    multiply_adds: Mapping[Size, int]


def count_costs(config: Config, sizes: Sequence[Size]) -> Cost:
    """Count what a config's detector costs.

    Convolutions and matrix products of backbone, neck and heads count. Not counted:
    normalisation, activation, interpolation, grid sampling, RoIAlign, NMS and all other
    post-processing. The second stage sees as many RoIs as the RPN passes on at most
    when testing, masks and grids as many as there are detections at most.

    Args:
        config: Of a detector of one or two stages; it is not changed.
        sizes: Sizes of the one image.

    Raises:
        TypeError: If the detector has a part whose costs this does not know.
    """
    return _count(json.dumps(config.model.to_dict()), tuple(sizes))


@functools.lru_cache(maxsize=64)  # configs that differ in the data share their model
def _count(model: str, sizes: tuple[Size, ...]) -> Cost:
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
    return Cost(count_parameters(detector) - training_only, training_only, counts)


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
