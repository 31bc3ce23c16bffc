"""The table behind tests/necks/test_all_necks.py: one row per neck and setting.

A new neck gets every generic test by adding rows here; ``test_every_neck_has_a_case``
fails until it has one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

IN_CHANNELS = [8, 16, 24, 32]
OUT_CHANNELS = 16


@dataclass(frozen=True)
class NeckCase:
    """A neck's type and arguments, and what its outputs must look like."""

    name: str
    type: str
    # Strides of the outputs relative to the finest backbone map.
    strides: tuple[int, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    # Parameters that rightly get no gradient from the outputs, by name.
    without_gradient: tuple[str, ...] = ()
    # BN on pooled maps: one image in training raises the error that says the way out.
    needs_two_images_to_train: bool = False

    def config(self, **changes: Any) -> dict[str, Any]:
        """Return the neck's config."""
        settings = dict(
            type=self.type, in_channels=IN_CHANNELS, out_channels=OUT_CHANNELS
        )
        if self.type == "SAlphaFPN":
            settings["fusion_factor"] = 1.0
        return {**settings, **self.arguments, **changes}


P2_P6 = dict(num_outs=5)
P3_P7 = dict(num_outs=5, start_level=1, add_extra_convs="on_input")
P3_P7_FCOS = dict(
    num_outs=5,
    start_level=1,
    add_extra_convs="on_output",
    relu_before_extra_convs=True,
)
P2_P6_STRIDES = (1, 2, 4, 8, 16)
P3_P7_STRIDES = (2, 4, 8, 16, 32)
GN = dict(type="GN", num_groups=4)
NORM = dict(norm_cfg=GN, act_cfg=dict(type="ReLU"))

# Poolings and fusions of AugFPN's residual, but for its own.
AUGFPN_PARTS = (
    ("ratio-invariant", "sum"),
    ("gap", "sum"),
    ("gmp", "sum"),
    ("psp", "asf"),
    ("psp", "psp"),
)
CASES = [
    NeckCase("s-alpha", "SAlphaFPN", P2_P6_STRIDES, P2_P6),
    NeckCase("s-alpha-retinanet", "SAlphaFPN", P3_P7_STRIDES, P3_P7),
    NeckCase(
        "s-alpha-on-lateral",
        "SAlphaFPN",
        P3_P7_STRIDES,
        {**P3_P7, "add_extra_convs": "on_lateral", "fusion_factor": 0.5},
    ),
    NeckCase(
        "s-alpha-norm",
        "SAlphaFPN",
        P2_P6_STRIDES,
        dict(
            num_outs=5,
            **NORM,
            fusion_factor=[0.368, 0.387, 0.367],
            power_init=0.5,
        ),
    ),
    NeckCase(
        "s-alpha-bilinear",
        "SAlphaFPN",
        P2_P6_STRIDES,
        dict(num_outs=5, upsample_cfg=dict(mode="bilinear", align_corners=True)),
    ),
    *(
        NeckCase(
            f"s-alpha-{kind}",
            "SAlphaFPN",
            P2_P6_STRIDES,
            {**P2_P6, "fusion_factor": kind},
        )
        for kind in ("learnable", "learnable-shared", "attention")
    ),
    NeckCase("cfg", "CFGFPN", P2_P6_STRIDES, P2_P6),
    NeckCase("cfg-one-stage", "CFGFPN", P2_P6_STRIDES, {**P2_P6, "cascade_times": 1}),
    # Three levels: the laterals have 24 channels for 16 outputs.
    NeckCase(
        "cfg-retinanet-rank",
        "CFGFPN",
        P3_P7_STRIDES,
        {**P3_P7, "add_extra_convs": "on_lateral", "cascade_times": 2, "rank": 4},
    ),
    NeckCase(
        "cfg-norm",
        "CFGFPN",
        P2_P6_STRIDES,
        dict(
            num_outs=5,
            **NORM,
            upsample_cfg=dict(mode="nearest"),
        ),
    ),
    NeckCase("augfpn", "AugFPN", P2_P6_STRIDES, P2_P6),
    NeckCase(
        "augfpn-retinanet",
        "AugFPN",
        P3_P7_STRIDES,
        {**P3_P7, "residual_to_extra_level": True},
    ),
    NeckCase(
        "augfpn-fcos",
        "AugFPN",
        P3_P7_STRIDES,
        {**P3_P7_FCOS, "residual_to_extra_level": True},
    ),
    NeckCase(
        "augfpn-on-lateral",
        "AugFPN",
        P3_P7_STRIDES,
        {**P3_P7, "add_extra_convs": "on_lateral", "fusion_factor": "learnable"},
    ),
    NeckCase(
        "augfpn-norm",
        "AugFPN",
        P2_P6_STRIDES,
        dict(
            num_outs=5,
            **NORM,
            ratios=[0.1, 0.5],
            residual_to_extra_level=True,
        ),
    ),
    *(
        NeckCase(
            f"augfpn-{pooling}-{fusion}",
            "AugFPN",
            P2_P6_STRIDES,
            {**P2_P6, "pooling": pooling, "fusion": fusion},
        )
        for pooling, fusion in AUGFPN_PARTS
    ),
    # A stage behind other necks; here it fuses the backbone maps themselves.
    NeckCase("asff", "ASFF", (1, 2, 4, 8), dict(num_fused=4)),
    *(
        NeckCase(f"asff-{name}", "ASFF", (1, 2, 4, 8), dict(num_fused=4, **arguments))
        for name, arguments in {
            "direct": dict(weights="direct"),
            "sum": dict(fusion="sum"),
            "concat": dict(fusion="concat"),
            "lead": dict(lead_channels=[16, None, None, 24]),
            "group-norm": dict(
                compress_channels=8,
                **NORM,
            ),
            "plain": dict(norm_cfg=None, act_cfg=None),
        }.items()
    ),
    NeckCase("drfpn", "DRFPN", P2_P6_STRIDES, P2_P6, needs_two_images_to_train=True),
    *(
        NeckCase(
            f"drfpn-{name}", "DRFPN", strides, {**arguments, "crb": dict(norm_cfg=GN)}
        )
        for name, strides, arguments in (
            ("retinanet", P3_P7_STRIDES, P3_P7),
            ("non-local", P2_P6_STRIDES, {**P2_P6, "context": "non-local"}),
            ("dense-aspp", P2_P6_STRIDES, {**P2_P6, "context": "dense-aspp"}),
        )
    ),
    NeckCase(
        "drfpn-inner-levels",
        "DRFPN",
        (2, 4),
        dict(
            num_outs=2,
            start_level=1,
            end_level=2,
            top_down="plain",
            bottom_up="plain",
            context="none",
        ),
    ),
    NeckCase(
        "drfpn-swapped",
        "DRFPN",
        P2_P6_STRIDES,
        dict(
            num_outs=5,
            top_down="crb",
            bottom_up="srb",
            # Values grow as they are weighed and passed up, and so does the rounding of
            # learnt sampling points: too far for bfloat16 on white noise.
            srb=dict(inputs="add", base_grid="identity", sampling_offset=False),
            crb=dict(guide="cat", norm_cfg=GN),
        ),
    ),
    NeckCase(
        "drfpn-top-down",
        "DRFPN",
        P3_P7_STRIDES,
        dict(
            **P3_P7,
            top_down="srb+crb",
            bottom_up="none",
            srb=dict(inputs="high", offset_scale="mean-side"),
            crb=dict(guide="add", norm_cfg=GN),
        ),
    ),
    NeckCase(
        "drfpn-norm",
        "DRFPN",
        P2_P6_STRIDES,
        dict(
            num_outs=5,
            **NORM,
            context="none",
            upsample_cfg=dict(mode="bilinear"),
            bottom_up="crb",
            srb=dict(inputs="low", sampling_weight=False),
            crb=dict(guide="high", norm_cfg=GN),
        ),
    ),
]

# What the levels of a PyramidNeck can be; each is tried with every such neck. The
# widths of the backbone maps are IN_CHANNELS, and 8 for levels beyond them.
PYRAMIDS: dict[str, dict[str, Any]] = {
    **{f"{n}-levels": dict(num_ins=n, num_outs=n) for n in (1, 2, 3, 5, 6)},
    "2-of-6-levels": dict(num_ins=6, num_outs=2, start_level=3, end_level=4),
    "without-the-last": dict(num_ins=4, num_outs=3, end_level=2),
    "start-1": dict(num_ins=4, num_outs=3, start_level=1),
    "pooled": dict(num_ins=4, num_outs=6, start_level=1),
    **{
        f"extra-{source}{'-relu' if relu else ''}": dict(
            num_ins=4,
            num_outs=5,
            start_level=1,
            add_extra_convs=source,
            relu_before_extra_convs=relu,
        )
        for source in (True, "on_input", "on_lateral", "on_output")
        for relu in (False, True)
    },
}


def backbone_maps(
    size: tuple[int, int],
    batch: int = 2,
    channels: Sequence[int] = IN_CHANNELS,
    rounding: Callable[[float], int] = math.ceil,
) -> list[Tensor]:
    """Return maps as a backbone gives them: sides are halved and rounded."""
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(
            batch, c, *(rounding(side / 2**i) for side in size), generator=random
        )
        for i, c in enumerate(channels)
    ]
