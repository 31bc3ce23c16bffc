"""ASFF: levels of a pyramid fused anew, with weights for every place and level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from fpn_necks.layers import (
    LevelFusion,
    check_bool,
    check_int,
    check_level_order,
    check_list,
    check_maps,
    conv_block,
    recompute,
)

Settings = Mapping[str, Any]

BATCH_NORM: Settings = dict(type="BN")
LEAKY_RELU: Settings = dict(type="LeakyReLU", negative_slope=0.1)
KAIMING_LEAKY: Settings = dict(
    type="Kaiming", layer="Conv2d", a=0.1, mode="fan_in", nonlinearity="leaky_relu"
)


@MODELS.register_module()
class ASFF(BaseModule):
    """Adaptively spatial feature fusion: a stage behind any neck.

    Liu et al., "Learning Spatial Fusion for Single-Shot Object Detection"
    (arXiv 1911.09516), Sec. 3.2. Every fused level becomes the sum of all of them,
    resized to it, weighted at each place by a softmax over the levels, and a 3x3 conv
    block follows; see ``LevelFusion`` and ``LevelResizing``.

    A config puts it behind another neck: ``neck=[dict(type='FPN', ...),
    dict(type='ASFF', in_channels=256, out_channels=256)]``. It fuses P3, P4 and P5 of
    RetinaNet; P6 and P7 pass through as they are.

    The defaults are those of the released YOLOv3. Where a GPU sees few images, as in
    RetinaNet, FCOS or Faster R-CNN, give the detector's own activation and
    ``norm_cfg=dict(type='GN', num_groups=16)``, where ``compress_channels`` must be a
    multiple of the groups.

    Args:
        in_channels: width of the fused levels: one number, or one per level.
        out_channels: width of the results: one number, or one per level.
        num_fused: how many levels are fused, at least 2: the finest ones.
        order: ``'fine_to_coarse'``, or ``'coarse_to_fine'`` as mmdet's ``YOLOV3Neck``
            returns its maps. Lists and results have the same order.
        weights: ``'compressed'``: from all levels together, each squeezed to
            ``compress_channels`` (released); ``'direct'``: of a level from that level
            alone, by one 1x1 conv (the paper's Eq. 2).
        compress_channels: width of a squeezed level; released 16, and 8 with RFB.
        fusion: ``'asff'``, or ``'sum'`` or ``'concat'`` in its place (Table 3).
        lead_channels: widths to which a 3x3 conv block brings a level first, or
            ``None`` for a level without one; released ``[None, None, 256]``.
        conv_cfg: conv type; plain ``Conv2d`` by default.
        norm_cfg: normalisation behind each conv.
        act_cfg: activation behind each conv.
        init_cfg: initialisation; Kaiming's by default, as in the paper's Sec. 3.4.
        with_cp: in training, compute each fused level anew in the backward pass instead
            of keeping its maps.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.

    Example:
        >>> import torch
        >>> neck = ASFF(in_channels=8, out_channels=[8, 16, 32])
        >>> maps = [torch.rand(2, 8, 32 // 2**i, 48 // 2**i) for i in range(4)]
        >>> [tuple(y.shape) for y in neck(maps)]
        [(2, 8, 32, 48), (2, 16, 16, 24), (2, 32, 8, 12), (2, 8, 4, 6)]
        >>> [tuple(w.shape) for w in neck.weight_maps(maps)]
        [(2, 3, 32, 48), (2, 3, 16, 24), (2, 3, 8, 12)]
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int | Sequence[int],
        num_fused: int = 3,
        order: str = "fine_to_coarse",
        weights: str = "compressed",
        compress_channels: int = 16,
        fusion: str = "asff",
        lead_channels: Sequence[int | None] | None = None,
        conv_cfg: Settings | None = None,
        norm_cfg: Settings | None = BATCH_NORM,
        act_cfg: Settings | None = LEAKY_RELU,
        init_cfg: Settings | Sequence[Settings] | None = KAIMING_LEAKY,
        with_cp: bool = False,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_fused = check_int("num_fused", num_fused, minimum=2)
        self.order = order
        self.in_channels = _per_level("in_channels", in_channels, num_fused)
        self.out_channels = _per_level("out_channels", out_channels, num_fused)
        check_int("compress_channels", compress_channels)
        self.with_cp = check_bool("with_cp", with_cp)

        settings = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        widths, self.lead_convs = list(self.in_channels), nn.ModuleList()
        leads = lead_channels or [None] * num_fused
        leads = check_list("lead_channels", leads, num_fused)
        for i, (width, lead) in enumerate(zip(self.in_channels, leads, strict=True)):
            conv: nn.Module = nn.Identity()
            if lead is not None:
                widths[i] = check_int("lead_channels", lead)
                conv = conv_block(width, lead, 3, padding=1, **settings)
            self.lead_convs.append(conv)
        self.fusions = nn.ModuleList(
            LevelFusion(
                widths,
                target,
                self.out_channels[target],
                order,
                weights,
                compress_channels,
                fusion,
                settings,
            )
            for target in range(num_fused)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Fuse the finest maps; the others are returned as they are.

        Args:
            inputs: at least ``num_fused`` maps ``(N, C_i, H_i, W_i)`` in ``order``.

        Returns:
            As many maps, in the same order and of the same sizes.

        Raises:
            TypeError: the maps are no list of tensors.
            ValueError: there are too few maps, see ``check_maps``, or the sizes
                contradict ``order``.
        """
        maps, others = self._lead(inputs)
        if self.with_cp and self.training and torch.is_grad_enabled():
            # One by one, so that the backward pass has the maps of a single one.
            results = [recompute(fusion, fusion, maps) for fusion in self.fusions]
        else:
            results = [fusion(maps) for fusion in self.fusions]
        if self.order == "coarse_to_fine":
            return (*others, *results)
        return (*results, *others)

    def weight_maps(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the weights that ``forward`` uses (the paper's Fig. 3 and 4).

        One ``(N, num_fused, H_l, W_l)`` map per fused level l: channel n is the weight
        of level n, in the order of the inputs. In training mode statistics of BN are
        updated.

        Raises:
            ValueError: ``fusion`` is not ``'asff'``; or as in ``forward``.
        """
        maps, _ = self._lead(inputs)
        return [fusion.weight_maps(maps) for fusion in self.fusions]

    def _lead(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the maps to fuse, behind their lead convs, and the others."""
        maps = check_maps(inputs)
        if len(maps) < self.num_fused:
            raise ValueError(
                f"num_fused is {self.num_fused}, but there are {len(maps)} maps"
            )
        check_level_order(maps, self.order)
        if self.order == "coarse_to_fine":
            first = len(maps) - self.num_fused
            fused, others = maps[first:], maps[:first]
        else:
            fused, others = maps[: self.num_fused], maps[self.num_fused :]
        check_maps(fused, self.in_channels)
        led = [conv(x) for conv, x in zip(self.lead_convs, fused, strict=True)]
        return led, others


def _per_level(name: str, channels: int | Sequence[int], num_fused: int) -> list[int]:
    """Return one valid width per fused level."""
    if not isinstance(channels, list | tuple):
        channels = [channels] * num_fused
    return [check_int(name, c) for c in check_list(name, channels, num_fused)]
