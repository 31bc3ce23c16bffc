"""What is checked: necks, RoI extractors, heads, and detectors that train with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import Tensor, nn

from fpn_necks.costs.detector_configs import ConfigArgument, read_detector_config

from .settings import Scale

STRIDES = (4, 8, 16, 32)
P3_P7 = dict(start_level=1, add_extra_convs="on_input")
P3_P7_FCOS = dict(
    start_level=1, add_extra_convs="on_output", relu_before_extra_convs=True
)


@dataclass(frozen=True)
class Subject:
    """A module that is checked by itself.

    Args:
        name: for the report.
        make: builds the configs of its stages for a scale; what follows the first one
            refines its maps.
        needs_rois: it takes RoIs beside the maps.
        is_main: it stands for its type where checks take long.
        compiles: it is traced whole by ``torch.compile``; mmcv's operators are not.
    """

    name: str
    make: Callable[[Scale], Sequence[dict[str, Any]]]
    needs_rois: bool = False
    is_main: bool = False
    compiles: bool = True

    def build(self, scale: Scale) -> nn.Module:
        """Build the module in training mode, with the weights of seed 0."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            stages = [MODELS.build(dict(config)) for config in self.make(scale)]
            for stage in stages:
                stage.init_weights()
            module = stages[0] if len(stages) == 1 else nn.Sequential(*stages)
            _leave_zero(module)
        return module

    def inputs(
        self, scale: Scale, size: tuple[int, int] | None = None
    ) -> tuple[Any, ...]:
        """Make the arguments of a call: a list of maps, and RoIs where they are needed.

        Args:
            scale: widths, batch, and the size unless ``size`` is given.
            size: (height, width) of the images in pixels.
        """
        size = size or scale.size
        if not self.needs_rois:
            return (make_maps(scale.in_channels, scale.batch, size),)
        widths = [scale.out_channels] * len(STRIDES)
        return make_maps(widths, scale.batch, size), make_rois(scale.batch, size)


def make_maps(widths: Sequence[int], batch: int, size: tuple[int, int]) -> list[Tensor]:
    """Make normal maps of strides 4 to 32; the same arguments give the same maps."""
    random = torch.Generator().manual_seed(1)
    return [
        torch.randn(
            batch, width, *(math.ceil(side / stride) for side in size),
            generator=random,
        )
        for width, stride in zip(widths, STRIDES, strict=True)
    ]  # fmt: skip


def make_rois(batch: int, size: tuple[int, int], count: int = 24) -> Tensor:
    """Make ``(count, 5)`` RoIs of all sizes, some of them partly outside."""
    random = torch.Generator().manual_seed(2)
    sides = torch.tensor([size[1], size[0]])
    corner = torch.rand(count, 2, generator=random) * sides - 2
    extent = torch.rand(count, 2, generator=random) ** 2 * sides + 2
    image = torch.arange(count)[:, None] % batch
    return torch.cat([image, corner, corner + extent], dim=1)


def _leave_zero(module: nn.Module) -> None:
    # Biases begin at 0, and behind them gradients would not be told from none.
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(parameter, -0.1, 0.1)


def _neck(type_: str, **arguments: Any) -> Callable[[Scale], list[dict[str, Any]]]:
    def make(scale: Scale) -> list[dict[str, Any]]:
        return [
            dict(
                type=type_,
                in_channels=list(scale.in_channels),
                out_channels=scale.out_channels,
                num_outs=5,
                **arguments,
            )
        ]

    return make


def _asff(**arguments: Any) -> Callable[[Scale], list[dict[str, Any]]]:
    def make(scale: Scale) -> list[dict[str, Any]]:
        width = scale.out_channels
        refined = dict(type="ASFF", in_channels=width, out_channels=width)
        return [*_neck("FPN")(scale), {**refined, **arguments}]

    return make


def _drfpn(**arguments: Any) -> Callable[[Scale], list[dict[str, Any]]]:
    # BN of pooled maps sees one value per image: with two images a sign and no number.
    # Blocks that start at zero would have nothing to compare.
    settings = dict(
        srb=dict(zero_init=False), crb=dict(norm_cfg=dict(type="GN", num_groups=4))
    )
    return _neck("DRFPN", **settings, **arguments)


def _roi(type_: str, **arguments: Any) -> Callable[[Scale], list[dict[str, Any]]]:
    def make(scale: Scale) -> list[dict[str, Any]]:
        return [
            dict(
                type=type_,
                roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
                out_channels=scale.out_channels,
                featmap_strides=list(STRIDES),
                **arguments,
            )
        ]

    return make


def _yolo_head(scale: Scale) -> list[dict[str, Any]]:
    widths = list(scale.in_channels[:0:-1])
    return [
        # It takes the maps coarsest first.
        dict(type="BridgelessYOLOV3Head", num_classes=4)
        | dict(in_channels=widths, out_channels=widths)
    ]


class CoarsestFirst(nn.Module):
    """A YOLOv3 head that takes the maps of a backbone, finest first."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the head's predictions."""
        return self.head(tuple(maps[:0:-1]))[0]


@dataclass(frozen=True)
class HeadSubject(Subject):
    """A head that takes the three coarsest maps, coarsest first."""

    def build(self, scale: Scale) -> nn.Module:
        """Build the module in training mode, with the weights of seed 0."""
        return CoarsestFirst(super().build(scale))


MODULES: tuple[Subject, ...] = (
    Subject("S-α FPN, fixed", _neck("SAlphaFPN", fusion_factor=0.5), is_main=True),
    Subject(
        "S-α FPN, learnable, P3-P7",
        _neck("SAlphaFPN", fusion_factor="learnable", **P3_P7),
    ),
    Subject("S-α FPN, attention", _neck("SAlphaFPN", fusion_factor="attention")),
    Subject("CFG-FPN", _neck("CFGFPN"), is_main=True),
    Subject("CFG-FPN, rank, P3-P7", _neck("CFGFPN", rank=4, **P3_P7)),
    Subject("FPN + ASFF", _asff(norm_cfg=dict(type="GN", num_groups=4)), is_main=True),
    Subject("FPN + ASFF, direct, BN", _asff(weights="direct")),
    Subject("AugFPN", _neck("AugFPN"), is_main=True),
    Subject(
        "AugFPN, P3-P7, residual to P6",
        _neck("AugFPN", residual_to_extra_level=True, **P3_P7),
    ),
    Subject("DRFPN", _drfpn(), is_main=True),
    Subject("DRFPN, P3-P7 of FCOS", _drfpn(**P3_P7_FCOS)),
    Subject("DRFPN, non-local", _drfpn(context="non-local")),
    Subject("DRFPN, DenseASPP", _drfpn(context="dense-aspp")),
    Subject(
        "Soft-RoI", _roi("SoftRoIExtractor"), True, is_main=True, compiles=False
    ),
    Subject(
        "Soft-RoI, channels", _roi("SoftRoIExtractor", fusion="acf"), True,
        compiles=False,
    ),
    Subject("RoIs of all levels", _roi("AllLevelRoIExtractor"), True, compiles=False),
    HeadSubject("YOLOv3 head", _yolo_head, is_main=True),
)  # fmt: skip
"""Every registered module that runs by itself, with the arguments that change most."""

DETECTORS: dict[str, str] = {
    "S-α FPN, RetinaNet": "retinanet_r50_s-alpha-fpn_1x_coco",
    "CFG-FPN, FCOS": "fcos_r50_cfg-fpn_gn-head_1x_coco",
    "ASFF, RetinaNet": "retinanet_r50_asff_1x_coco",
    "AugFPN with Soft-RoI and auxiliary losses, Faster R-CNN": (
        "faster-rcnn_r50_augfpn_1x_coco"
    ),
    "DRFPN, Faster R-CNN": "faster-rcnn_r50_drfpn_3xb8-1x_coco",
    "dense auxiliary losses with uncertainty, FCOS": (
        "fcos_r50_fpn_auxiliary-uncertainty_gn-head_1x_coco"
    ),
    "ASFF, YOLOv3": "yolov3_d53_asff_4xb16-300e_coco",
}
"""Shipped configs that train; every neck, extractor, form and head is in one."""


def detector_config(
    name: str, scale: Scale, options: dict[str, Any] | None = None
) -> Config:
    """Read a detector's config, with a small backbone where the scale wants it.

    Args:
        name: as of ``ConfigArgument``.
        scale: of the run.
        options: values by dotted key.
    """
    config, _ = read_detector_config(ConfigArgument(name, options or {}))
    model = config.model
    if scale.narrow_backbones and model.backbone.type == "ResNet":
        model.backbone.update(depth=18, base_channels=16, init_cfg=None)
        first = model.neck[0] if isinstance(model.neck, list) else model.neck
        first.in_channels = [16, 32, 64, 128]
    return config
