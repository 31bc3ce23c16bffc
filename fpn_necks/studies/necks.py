"""The necks of the study: what each changes of a detector with mmdet's FPN.

The methods' settings are the papers'; widths follow from the recipe.
"""

from __future__ import annotations

import copy
from typing import Any

from .detectors import roi_sampler
from .recipe import CHANNELS, FULLY_CONNECTED

Settings = dict[str, Any]

# In the order of the report.
NECKS = {
    "fpn": "FPN",
    "pafpn": "PAFPN",
    "s-alpha-fpn": "S-α FPN, α by statistic",
    "cfg-fpn": "CFG-FPN",
    "asff": "FPN + ASFF",
    "augfpn": "AugFPN",
    "drfpn": "DRFPN",
}
# Fig. 1 of the S-α paper: α of all connections. 1 is FPN, and the statistic's α is a
# neck of its own.
SWEEP = {f"alpha-{alpha}": alpha for alpha in (0.0, 0.25, 0.5, 0.75, 1.1)}
# Tells which α was counted; a dotted name needs no registry.
_FACTORS = "fpn_necks.studies.counted_factors.CountedFactors"


def with_neck(detector: Settings, neck: str) -> tuple[Settings, list[Settings]]:
    """Give a detector another neck and what belongs to the method.

    Args:
        detector: Config with FPN; it is not changed.
        neck: A key of `NECKS` or `SWEEP`.

    Returns:
        The detector's config and those of the hooks that the method needs.

    Raises:
        ValueError: There is no such neck.
    """
    model = copy.deepcopy(detector)
    if neck in SWEEP:
        model["neck"].update(type="SAlphaFPN", fusion_factor=SWEEP[neck])
        return model, []
    if neck not in NECKS:
        raise ValueError(f"neck must be one of {', '.join(NECKS)}, got {neck!r}")
    if neck == "s-alpha-fpn":
        statistic = dict(type="StatisticFusionFactor")
        model["neck"].update(type="SAlphaFPN", fusion_factor=statistic)
        return model, [dict(type="FusionFactorHook"), dict(type=_FACTORS)]
    if neck == "asff":
        model["neck"] = [model["neck"], _asff(model)]
    elif neck == "augfpn":
        _add_augfpn(model)
    elif neck == "cfg-fpn":
        # All of the grouping matrices, as in the paper: at this width they are small.
        model["neck"].update(type="CFGFPN", cascade_times=3, rank=None)
    elif neck != "fpn":
        model["neck"]["type"] = neck.upper()
    return model, []


def _asff(model: Settings) -> Settings:
    # The levels of the backbone are fused; further ones pass through.
    used = len(model["neck"]["in_channels"]) - model["neck"]["start_level"]
    return dict(
        type="ASFF",
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_fused=used,
        norm_cfg=dict(type="GN", num_groups=16),
        act_cfg=dict(type="ReLU"),
    )


def _add_augfpn(model: Settings) -> None:
    """Add all three parts of the method; one-stage detectors have no Soft-RoI."""
    two_stages = "roi_head" in model
    model["type"] = f"Auxiliary{model['type']}"
    model["neck"].update(type="AugFPN", ratios=(0.1, 0.2, 0.3))
    model["auxiliary"] = dict(
        type="RoIAuxiliary",
        loss_weight=0.25,
        bbox_head=dict(fc_out_channels=FULLY_CONNECTED),
    )
    if two_stages:
        extractor = model["roi_head"]["bbox_roi_extractor"]
        extractor["type"] = "SoftRoIExtractor"
        del extractor["finest_scale"]  # RoIs are pooled from all levels
    else:
        model["neck"]["residual_to_extra_level"] = True
        model["auxiliary"]["sampler"] = roi_sampler()
