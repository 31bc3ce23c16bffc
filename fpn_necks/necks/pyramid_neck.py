"""What every feature-pyramid neck shares: its arguments and its order of steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from fpn_necks.layers import (
    ExtraLevels,
    LateralConvs,
    LevelRange,
    OutputConvs,
    check_bool,
    check_int,
    check_list,
    check_maps,
    recompute,
    resize_to,
)

Settings = Mapping[str, Any]

XAVIER_UNIFORM: Settings = dict(
    type="Xavier", layer=["Conv2d", "ConvTranspose2d"], distribution="uniform"
)


class PyramidNeck(BaseModule):
    """Laterals → ``augment`` → ``fuse`` → output convs → ``refine`` → extra levels.

    A method's idea is in one or more of the named steps.

    The arguments have the names and meaning of mmdet's ``FPN``, and the parameters and
    attributes its names (``lateral_convs.*``, ``fpn_convs.*``, ``num_outs``). Maps are
    ordered from the highest resolution to the lowest; sides need not be multiples of
    the stride.

    Args:
        in_channels: width of each backbone map.
        out_channels: width of each returned map.
        num_outs: number of returned maps.
        start_level: index of the first used backbone map.
        end_level: index of the last used backbone map, inclusive; -1 is the last one.
        add_extra_convs: ``False``: extra levels by max pooling. ``'on_input'`` (or
            ``True``), ``'on_lateral'``, ``'on_output'``: by stride-2 convs from there.
        relu_before_extra_convs: ReLU before each extra conv but the first.
        no_norm_on_lateral: no normalisation in the lateral convs.
        conv_cfg: conv type; plain ``Conv2d`` by default.
        norm_cfg: normalisation behind each conv; none by default.
        act_cfg: activation behind each conv; none by default.
        upsample_cfg: ``mode`` and ``align_corners`` of ``F.interpolate``.
        init_cfg: initialisation; ``None`` keeps PyTorch's own.
        with_cp: in training, compute the neck anew in the backward pass instead of
            keeping its maps. The neck's own peak does not fall.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: Settings | None = None,
        norm_cfg: Settings | None = None,
        act_cfg: Settings | None = None,
        upsample_cfg: Settings | None = None,
        init_cfg: Settings | Sequence[Settings] | None = XAVIER_UNIFORM,
        with_cp: bool = False,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.in_channels = [
            check_int("in_channels", c) for c in check_list("in_channels", in_channels)
        ]
        self.out_channels = check_int("out_channels", out_channels)
        self.levels = LevelRange(
            len(self.in_channels), num_outs, start_level, end_level
        )
        self.upsample_cfg = _check_upsample_cfg(upsample_cfg)
        check_bool("no_norm_on_lateral", no_norm_on_lateral)
        self.with_cp = check_bool("with_cp", with_cp)
        used_channels = self.levels.select(self.in_channels)
        self.extra_levels = ExtraLevels(
            self.levels.num_extra, add_extra_convs, relu_before_extra_convs
        )
        settings = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv_settings = settings
        lateral_norm_cfg = None if no_norm_on_lateral else norm_cfg
        self.lateral_channels = self._choose_lateral_channels(lateral_norm_cfg)
        # What mmdet's FPN has, for the code that reads it.
        self.num_ins, self.num_outs = self.levels.num_ins, num_outs
        self.start_level, self.end_level = start_level, end_level
        self.backbone_end_level = self.levels.last_index + 1
        self.add_extra_convs = self.extra_levels.source
        self.relu_before_extra_convs = relu_before_extra_convs
        self.no_norm_on_lateral = no_norm_on_lateral
        self.fp16_enabled = False
        self.lateral_convs = LateralConvs(
            used_channels,
            self.lateral_channels,
            {**settings, "norm_cfg": lateral_norm_cfg},
        )
        self.fpn_convs = OutputConvs(
            self.levels.num_used,
            self.lateral_channels,
            out_channels,
            self.extra_levels.conv_in_channels(
                used_channels[-1], self.lateral_channels, out_channels
            ),
            settings,
        )

    def _choose_lateral_channels(self, norm_cfg: Settings | None) -> int:
        """Return the width of laterals, with this norm, and of fused maps."""
        return self.out_channels

    def augment(
        self, laterals: list[Tensor], backbone_map: Tensor
    ) -> tuple[list[Tensor], Tensor | None]:
        """Add to the laterals what the last used backbone map gives.

        Returns:
            The laterals, and what is added to the first extra level or ``None``.
        """
        return laterals, None

    @abstractmethod
    def fuse(self, laterals: list[Tensor]) -> list[Tensor]:
        """Fuse the laterals across levels; count and shapes stay."""

    def refine(self, outputs: list[Tensor]) -> list[Tensor]:
        """Refine the output convs' maps before extra levels; count and shapes stay."""
        return outputs

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn backbone maps into pyramid maps.

        Args:
            inputs: one ``(N, in_channels[i], H_i, W_i)`` map per backbone level.

        Returns:
            ``num_outs`` maps of width ``out_channels``: those of the used levels in
            their own size, then the extra levels, each half the one before.

        Raises:
            TypeError: the maps are no list of tensors.
            ValueError: they do not fit ``in_channels``, or see ``check_maps``.
        """
        used = self.levels.select(check_maps(inputs))
        check_maps(used, self.levels.select(self.in_channels))
        if self.with_cp and self.training and torch.is_grad_enabled():
            return recompute(self, self._run_steps, used)
        return self._run_steps(used)

    def _run_steps(self, used: list[Tensor]) -> tuple[Tensor, ...]:
        laterals, context = self.augment(self.lateral_convs(used), used[-1])
        fused = self.fuse(laterals)
        outputs = self.refine(self.fpn_convs(fused))
        outputs += self.extra_levels(
            self.fpn_convs.extra, used[-1], fused[-1], outputs[-1], context
        )
        return tuple(outputs)


def _check_upsample_cfg(upsample_cfg: Settings | None) -> dict[str, Any]:
    if not isinstance(upsample_cfg, Mapping | None):
        raise TypeError(f"upsample_cfg must be a dict, got {upsample_cfg!r}")
    settings = {"mode": "nearest", **(upsample_cfg or {})}
    try:
        resize_to(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 2, 2), settings)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"F.interpolate cannot resize maps by upsample_cfg={settings}: {error}"
        ) from error
    return settings
