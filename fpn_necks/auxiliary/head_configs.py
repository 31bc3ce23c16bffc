"""Auxiliary heads of RoIs, after the settings of a detector's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmdet.registry import MODELS
from mmengine.model import ModuleList
from torch import nn

from fpn_necks.roi_extractors import AllLevelRoIExtractor

Settings = Mapping[str, Any]


def first_stage(value: Any) -> Any:
    """Return a setting, of the first stage where there are several."""
    return value[0] if isinstance(value, list | tuple | nn.ModuleList) else value


def box_head_config(
    settings: Settings, replace: Settings | None, pooled_size: Any
) -> dict[str, Any]:
    """Return the config of an auxiliary box head, but for its ``in_channels``.

    Classes and box coder are the detector's, where it has a second stage. Without one
    it has a coder for points or anchors, and RoIs get Faster R-CNN's.
    """
    main = first_stage((settings.get("roi_head") or {}).get("bbox_head"))
    taken = ("num_classes", "reg_class_agnostic", "bbox_coder")
    if main is None:
        main, taken = settings["bbox_head"], ("num_classes",)
        if main.get("num_classes") is None:
            raise ValueError("the detector's bbox_head does not say num_classes")
    # mmdet's defaults are Faster R-CNN's coder and AugFPN's widths and losses.
    config = dict(type="Shared2FCBBoxHead", roi_feat_size=pooled_size)
    config |= {key: main[key] for key in taken if key in main}
    return copy.deepcopy({**config, **(replace or {})})


def build_mask_heads(
    settings: Settings, widths: list[int], strides: list[int], number: int
) -> tuple[ModuleList, AllLevelRoIExtractor]:
    """Build one or more mask heads like the detector's, and the pooling before them."""
    roi_head = settings.get("roi_head") or {}
    config = first_stage(roi_head.get("mask_head"))
    if config is None:
        raise ValueError("mask_loss=True needs a detector with a mask_head")
    extractor = first_stage(
        roi_head.get("mask_roi_extractor") or roi_head.get("bbox_roi_extractor")
    )
    layer = copy.deepcopy(extractor["roi_layer"])
    heads = ModuleList(
        MODELS.build({**copy.deepcopy(config), "in_channels": width})
        for width in widths[:number]
    )
    return heads, AllLevelRoIExtractor(layer, widths[0], strides)
