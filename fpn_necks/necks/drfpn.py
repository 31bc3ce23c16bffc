"""DRFPN: a pyramid whose two paths are refined in space and in channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor, nn

from fpn_necks.layers import (
    ChannelRefinement,
    DenseASPPContext,
    NonLocalContext,
    PyramidPooling,
    SpatialRefinement,
    check_choice,
    conv_block,
    fit_to,
    resize_to,
)
from fpn_necks.layers import top_down as pass_top_down

from .pyramid_neck import PyramidNeck

TOP_DOWN = ("srb", "crb", "srb+crb", "plain")
BOTTOM_UP = ("crb", "srb", "plain", "none")
CONTEXTS: Mapping[str, type[nn.Module] | None] = {
    "ppm": PyramidPooling,
    "non-local": NonLocalContext,
    "dense-aspp": DenseASPPContext,
    "none": None,
}


@MODELS.register_module()
class DRFPN(PyramidNeck):
    """Dual Refinement Feature Pyramid Network.

    Ma and Chen, "Dual Refinement Feature Pyramid Networks for Object Detection",
    arXiv 2012.01733, Fig. 3. For a ResNet-50 and an image of (h, w) px; all maps but
    the C_i have ``out_channels``, ``sample`` and ``weigh`` are the two blocks::

        C5 (2048, h/32, w/32) - context - M5 ------- 3x3 - P5 - weigh -(+)- 3x3 - N5
                                           | sample             +-------| stride 2
        C4 (1024, h/16, w/16) - 1x1 - (+)- M4 ------ 3x3 - P4 - weigh -(+)- 3x3 - N4
                                           | sample             +-------| stride 2
        C3 (512, h/8, w/8) ---- 1x1 - (+)- M3 ------ 3x3 - P3 - weigh -(+)- 3x3 - N3
                                           | sample             +-------| stride 2
        C2 (256, h/4, w/4) ---- 1x1 - (+)- M2 ------ 3x3 - P2 ----------+-------- N2

        M_l = 1x1(C_l) + SpatialRefinement(1x1(C_l), M_{l+1})             Eq. 1-4
        S_{l+1} = stride 2(S_l) + ChannelRefinement(S_l, P_{l+1})         Eq. 5-6
        N_l = 3x3(S_l), S_2 = N_2 = P_2; the extra levels follow from N_5

    The released code, which this equals, differs from the paper: the channel weights
    come from the merged map S_l instead of P_l; the last convolution (conv_6) is 3x3 as
    in the text, not 1x1 as below Eq. 6; and see the two blocks. It ignores
    ``end_level``, which works here.

    Args:
        *args: the arguments of ``PyramidNeck``, which are those of mmdet's ``FPN``.
            ``norm_cfg`` and ``act_cfg`` are for the convs around the blocks; the blocks
            and the context have their own.
        top_down: what stands between two levels of the top-down path (Tables 2, 3).
            ``'srb'``: the spatial block. ``'crb'``: the channel block refines the finer
            level and the coarser one is upsampled. ``'srb+crb'``: both. ``'plain'``: as
            in FPN.
        bottom_up: the same for the bottom-up path; ``'none'``: there is no such path.
        context: what stands in the place of the highest lateral conv (Table 7):
            ``'ppm'``, ``'non-local'``, ``'dense-aspp'``, or ``'none'`` for the conv.
        srb: arguments of every ``SpatialRefinement``: ``inputs``, ``sampling_offset``,
            ``sampling_weight``, ``offset_scale``, ``base_grid``, ``zero_init``;
            ``srb=dict(zero_init=False)`` is the released start.
        crb: arguments of every ``ChannelRefinement``: ``guide``, ``norm_cfg``. Its
            batch normalisation needs two images per batch in training;
            ``crb=dict(norm_cfg=dict(type='GN', num_groups=32))`` works with one.
        **kwargs: see ``*args``.

    Raises:
        TypeError: an argument has the wrong type, or a block does not have it.
        ValueError: an argument has a value that is not allowed. In ``forward``: see
            ``crb``.

    Example:
        >>> import torch
        >>> neck = DRFPN([8, 16, 32], 8, num_outs=4)
        >>> maps = [torch.rand(2, 8 * 2**i, 32 // 2**i, 48 // 2**i) for i in range(3)]
        >>> [tuple(p.shape) for p in neck(maps)]
        [(2, 8, 32, 48), (2, 8, 16, 24), (2, 8, 8, 12), (2, 8, 4, 6)]
    """

    def __init__(
        self,
        *args: Any,
        top_down: str = "srb",
        bottom_up: str = "crb",
        context: str = "ppm",
        srb: Mapping[str, Any] | None = None,
        crb: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.top_down = check_choice("top_down", top_down, TOP_DOWN)
        self.bottom_up = check_choice("bottom_up", bottom_up, BOTTOM_UP)
        self.context = check_choice("context", context, CONTEXTS)
        channels, connections = self.out_channels, self.levels.num_used - 1
        if CONTEXTS[context] is not None:
            last_channels = self.in_channels[self.levels.last_index]
            self.lateral_convs[-1] = CONTEXTS[context](last_channels, channels)

        blocks = dict(
            srb=dict(upsample_cfg=self.upsample_cfg, **_check_settings("srb", srb)),
            crb=_check_settings("crb", crb),
        )
        settings = self.conv_settings
        # mmengine's list: BaseModule calls the init_weights of what is in it.
        self.top_down_connections = ModuleList(
            RefinedConnection(channels, "top-down", top_down, blocks, settings)
            for _ in range(connections)
        )
        if bottom_up == "none":
            connections = 0
        self.bottom_up_connections = ModuleList(
            RefinedConnection(channels, "bottom-up", bottom_up, blocks, settings)
            for _ in range(connections)
        )
        self.bottom_up_convs = nn.ModuleList(
            conv_block(channels, channels, 3, padding=1, inplace=False, **settings)
            for _ in range(connections)
        )

    def fuse(self, laterals: list[Tensor]) -> list[Tensor]:
        """Run the top-down path."""

        def merge(connection: int, low: Tensor, high: Tensor) -> Tensor:
            return self.top_down_connections[connection](low, high)

        return pass_top_down(laterals, merge)

    def refine(self, outputs: list[Tensor]) -> list[Tensor]:
        """Run the bottom-up path, if there is one."""
        if self.bottom_up == "none":
            return outputs
        merged, refined = outputs[0], [outputs[0]]
        for connect, conv, high in zip(
            self.bottom_up_connections, self.bottom_up_convs, outputs[1:], strict=True
        ):
            merged = connect(merged, high)
            refined.append(conv(merged))
        return refined


class RefinedConnection(nn.Module):
    """A connection of two neighbouring levels: what one passes on, and the other.

    Args:
        channels: width of both levels.
        path: ``'top-down'`` or ``'bottom-up'``.
        kinds: ``'srb'``, ``'crb'``, ``'srb+crb'`` or ``'plain'``.
        blocks: arguments of the two blocks, by their kind.
        settings: conv, norm and activation of the bottom-up path's stride-2 conv.
    """

    def __init__(
        self,
        channels: int,
        path: str,
        kinds: str,
        blocks: Mapping[str, Mapping[str, Any]],
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.path = path
        self.upsample_cfg = blocks["srb"]["upsample_cfg"]
        self.spatial_refinement = self.channel_refinement = self.downsample = None
        if "srb" in kinds:
            self.spatial_refinement = SpatialRefinement(channels, path, **blocks["srb"])
        elif path == "bottom-up":
            self.downsample = conv_block(
                channels, channels, 3, 2, 1, inplace=False, **settings
            )
        if "crb" in kinds:
            self.channel_refinement = ChannelRefinement(channels, path, **blocks["crb"])

    def init_weights(self) -> None:
        """Initialise what the neck's ``init_cfg`` does not decide."""
        if self.spatial_refinement is not None:
            self.spatial_refinement.init_weights()

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Merge ``(N, C, H, W)`` and ``(N, C, h, w)`` into the path's next level."""
        target = low if self.path == "top-down" else high
        if self.spatial_refinement is not None:
            passed = self.spatial_refinement(low, high)
        elif self.downsample is not None:
            passed = fit_to(self.downsample(low), high)
        else:
            passed = resize_to(high, low, self.upsample_cfg)
        if self.channel_refinement is not None:
            target = self.channel_refinement(low, high)
        return target + passed


def _check_settings(name: str, settings: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not isinstance(settings, Mapping | None):
        raise TypeError(f"{name} must be a dict or None, got {settings!r}")
    return settings or {}
