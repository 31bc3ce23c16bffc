"""Costs of whole detectors with each method beside FPN, and the papers' own claims."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from mmengine.config import Config

from fpn_necks.costs.detection_load import let_boxes_through
from fpn_necks.costs.detector import MeasuredDetector
from fpn_necks.costs.detector_comparison import WHOLE, compare_detectors
from fpn_necks.costs.paper_claims import INFERENCE, claims_of

from .settings import Scale
from .subjects import detector_config

BOXES = 80
"""Per image that post-processing gets to work on."""
_PLAIN = {"model.auxiliary": None}
_NO_SOFT_ROI = {
    **_PLAIN,
    "model.roi_head.bbox_roi_extractor.type": "SingleRoIExtractor",
}
COMPARED: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "RetinaNet": {
        "FPN": ("mmdet::retinanet/retinanet_r50_fpn_1x_coco", {}),
        "S-α FPN": ("retinanet_r50_s-alpha-fpn_1x_coco", {}),
        "CFG-FPN": ("retinanet_r50_cfg-fpn_1x_coco", {}),
        "FPN + ASFF": ("retinanet_r50_asff_1x_coco", {}),
        "AugFPN": ("retinanet_r50_augfpn_1x_coco", _PLAIN),
        "AugFPN, auxiliary losses": ("retinanet_r50_augfpn_1x_coco", {}),
        "DRFPN": ("retinanet_r50_drfpn_3xb8-1x_coco", {}),
    },
    "Faster R-CNN": {
        "FPN": ("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco", {}),
        "S-α FPN": ("faster-rcnn_r50_s-alpha-fpn_1x_coco", {}),
        "CFG-FPN": ("faster-rcnn_r50_cfg-fpn_1x_coco", {}),
        "FPN + ASFF": ("faster-rcnn_r50_asff_1x_coco", {}),
        "AugFPN, without Soft-RoI": ("faster-rcnn_r50_augfpn_1x_coco", _NO_SOFT_ROI),
        "AugFPN, auxiliary losses": ("faster-rcnn_r50_augfpn_1x_coco", {}),
        "DRFPN": ("faster-rcnn_r50_drfpn_3xb8-1x_coco", {}),
    },
    "FCOS": {
        "FPN": ("fcos_r50_fpn_auxiliary-uncertainty_gn-head_1x_coco", _PLAIN),
        "S-α FPN": ("fcos_r50_s-alpha-fpn_gn-head_1x_coco", {}),
        "CFG-FPN": ("fcos_r50_cfg-fpn_gn-head_1x_coco", {}),
        "FPN + ASFF": ("fcos_r50_asff_gn-head_1x_coco", {}),
        "AugFPN": ("fcos_r50_augfpn_gn-head_4xb4-1x_coco", _PLAIN),
        "FPN, auxiliary losses": (
            "fcos_r50_fpn_auxiliary-uncertainty_gn-head_1x_coco",
            {},
        ),
        "DRFPN": ("fcos_r50_drfpn_gn-head_3xb8-1x_coco", {}),
    },
}
"""Detector -> title -> config and options; the others are compared with the first."""
BASE = "FPN"


def config_of(detector: str, title: str, scale: Scale) -> Config:
    """Read one of ``COMPARED``."""
    name, options = COMPARED[detector][title]
    return detector_config(name, scale, options)


def measure_detector(
    detector: str, title: str, scale: Scale, device: torch.device
) -> dict[str, Any]:
    """Measure a detector beside the same one with FPN, in turns.

    Returns:
        ``detectors``: base and other, as of ``markdown_tables``; ``claims``: the
        papers' numbers beside those measured here.

    Raises:
        Exception: whatever a detector raises where it cannot run.
    """
    configs = [config_of(detector, name, scale) for name in (BASE, title)]
    pair = [
        MeasuredDetector(config, scale.cost_size, scale.batch, device)
        for config in configs
    ]
    for one in pair:
        one.train_step()
        let_boxes_through(one.model, one.infer, BOXES)
    costs = compare_detectors(pair, scale.pairs)
    rows = [
        dict(title=f"{detector}, {name}", **cost.to_json(scale.batch))
        for name, cost in zip((BASE, title), costs, strict=True)
    ]
    claims = []
    for claim in claims_of(configs[1].model, configs[0].model):
        row = rows[1]
        is_inference = claim.step == INFERENCE
        measured = row["inference"][WHOLE] if is_inference else row.get("train_step")
        claims.append(dict(claim=asdict(claim), measured=measured))
    return dict(detectors=rows, claims=claims)
