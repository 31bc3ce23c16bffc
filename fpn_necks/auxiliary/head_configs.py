"""Settings of a detector's own heads, from which auxiliary heads take theirs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

Settings = Mapping[str, Any]


def first_stage(value: Any) -> Any:
    """Return a setting, of the first stage where there are several."""
    return value[0] if isinstance(value, list | tuple | nn.ModuleList) else value


def box_head_config(
    settings: Settings, replace: Settings | None, pooled_size: Any
) -> dict[str, Any]:
    """Return the config of an auxiliary box head, but for its ``in_channels``.

    Args:
        settings: config of the detector, whose classes and box coder are taken; a
            detector without second stage has a coder for points or anchors, and RoIs
            get Faster R-CNN's.
        replace: entries to replace.
        pooled_size: cells per side of a pooled RoI.

    Raises:
        ValueError: the detector does not say how many classes it has.
    """
    main = first_stage((settings.get("roi_head") or {}).get("bbox_head"))
    if main is None:
        main = settings["bbox_head"]
        if main.get("num_classes") is None:
            raise ValueError("the detector's bbox_head does not say num_classes")
        main = dict(num_classes=main["num_classes"])
    config = dict(
        type="Shared2FCBBoxHead",
        fc_out_channels=1024,
        roi_feat_size=pooled_size,
        num_classes=main.get("num_classes", 80),
        reg_class_agnostic=main.get("reg_class_agnostic", False),
        bbox_coder=main.get(
            "bbox_coder",
            dict(
                type="DeltaXYWHBBoxCoder",
                target_means=[0.0, 0.0, 0.0, 0.0],
                target_stds=[0.1, 0.1, 0.2, 0.2],
            ),
        ),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
    )
    config.update(replace or {})
    return copy.deepcopy(config)
