"""Feature grouping: every pyramid level gets selected channels of all levels.

Jin et al., "You Should Look at All Objects", ECCV 2022
(doi 10.1007/978-3-031-20077-9_20), Section 4.2. No code was released.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from .adaptive_pooling import adaptive_average_pool
from .arguments import check_int, check_number
from .pyramid import resize_to

# A coarse value stands at the centre of the fine cells it covers, which is where
# average pooling puts a mean: the two directions are consistent.
GROUP_UPSAMPLING: Mapping[str, Any] = dict(mode="bilinear", align_corners=False)
"""How groups of coarser levels are enlarged, unless told otherwise."""


class GroupingMatrix(nn.Module):
    """G_k of Eq. 13: one square matrix over the channels of a map, per image.

    Fig. 4 is known by its caption only (Conv1x1, GN, GAP). Here::

        (N, W, h, w) - average - Linear W -> Z - GN - ReLU - Linear Z -> W·W - (N, W, W)

    GN has groups of eight channels. The last layer starts with random weights and the
    identity as its bias: the matrix is the identity plus noise, and grouping starts as
    plain concatenation.

    The last layer has about Z³ weights. With ``rank=r`` it gives U of W x r and V of
    r x W instead, and the matrix is I + U V: r bounds how far it leaves the identity,
    not how many channels pass.

    Args:
        channels: W, the width of the map.
        hidden_channels: Z, the width of the hidden layer, at least 2.
        rank: r in [1, W], or ``None`` for a matrix of all ranks.
        noise: standard deviation of the matrix around the identity at the start, at
            least 0. With 0.01 a channel of 256 gets a sixth of its own spread from the
            others. With ``rank`` it must be above 0: U = V = 0 has no gradient.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        rank: int | None = None,
        noise: float = 0.01,
    ) -> None:
        super().__init__()
        self.channels = channels
        # The normalisation of a single value is constant.
        check_int("hidden_channels", hidden_channels, minimum=2)
        self.rank = None if rank is None else check_int("rank", rank, 1, channels)
        self.noise = check_number("noise", noise, above=None if rank is None else 0)
        self.hidden = nn.Linear(channels, hidden_channels)
        self.norm = nn.GroupNorm(_num_groups(hidden_channels), hidden_channels)
        entries = channels * channels if rank is None else 2 * channels * rank
        self.entries = nn.Linear(hidden_channels, entries)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Start at the identity plus noise."""
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.zeros_(self.hidden.bias)
        self.norm.reset_parameters()
        nn.init.zeros_(self.entries.bias)
        spread = self.noise
        if self.rank is None:
            self.entries.bias.view(self.channels, self.channels).fill_diagonal_(1)
        else:
            # An entry of U V is a sum of r products.
            spread = math.sqrt(self.noise / math.sqrt(self.rank))
        # Behind GN and ReLU the mean square of a value is about a half.
        hidden_norm = math.sqrt(self.hidden.out_features / 2)
        nn.init.normal_(self.entries.weight, std=spread / hidden_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, W, h_k, w_k)`` to ``(N, W, W)``."""
        hidden = self.norm(self.hidden(x.mean(dim=(2, 3)))).relu()
        entries = self.entries(hidden)
        if self.rank is None:
            return entries.unflatten(1, (self.channels, self.channels))
        left, right = entries.chunk(2, dim=1)
        # Applying the factors one after the other would save little: forming the matrix
        # takes W·W·r products, where the map has thousands of pixels.
        return torch.baddbmm(
            torch.eye(self.channels, device=left.device).to(left.dtype),
            left.unflatten(1, (self.channels, self.rank)),
            right.unflatten(1, (self.rank, self.channels)),
        )


class FeatureGrouping(nn.Module):
    """One stage of feature grouping, Eq. 12-15, for n levels of width W.

    ::

        C'_k (N, W, h_k, w_k) -----------------------(x)- X_k - split - X_k,1 ... X_k,n
               |                                      |         each (N, W/n, h_k, w_k)
               +-- GroupingMatrix -- M_k (N, W, W) ---+

        P'_l (N, W, h_l, w_l) = cat(X_1,l  X_2,l ... X_n,l), all resized to (h_l, w_l)

    The paper does not say how groups are resized: here to the size of the target map,
    bilinearly from coarser levels and by adaptive average pooling from finer ones.
    Multiplying the channels after pooling would give the same numbers with fewer
    products, but took more time and more memory in training.

    Args:
        num_levels: n.
        channels: W, the width of the maps, a multiple of n.
        hidden_channels: see ``GroupingMatrix``, as the next two.
        rank: rank of the matrices' distance from the identity.
        noise: spread of the matrices around the identity at the start.
        upsample_cfg: how groups of coarser levels are enlarged; see ``resize_to``.

    Raises:
        ValueError: ``channels`` is no multiple of ``num_levels``.
    """

    def __init__(
        self,
        num_levels: int,
        channels: int,
        hidden_channels: int,
        rank: int | None = None,
        noise: float = 0.01,
        upsample_cfg: Mapping[str, Any] = GROUP_UPSAMPLING,
    ) -> None:
        super().__init__()
        if channels % num_levels:
            raise ValueError(
                f"channels must be a multiple of num_levels={num_levels}, "
                f"got {channels}"
            )
        self.group_channels = channels // num_levels
        self.upsample_cfg = dict(upsample_cfg)
        self.matrices = nn.ModuleList(
            GroupingMatrix(channels, hidden_channels, rank, noise)
            for _ in range(num_levels)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Group the maps' channels by target level; count and shapes stay.

        Args:
            maps: one ``(N, W, h_k, w_k)`` map per level, high to low resolution.

        Returns:
            P'_l: one ``(N, W, h_l, w_l)`` map per level.
        """
        groups = [
            torch.bmm(matrix(x), x.flatten(2))
            .reshape(x.shape)
            .split(self.group_channels, dim=1)
            for matrix, x in zip(self.matrices, maps, strict=True)
        ]
        grouped = []
        for level, target in enumerate(maps):
            resized = [
                self._resize(groups_of_source[level], source, level, target)
                for source, groups_of_source in enumerate(groups)
            ]
            grouped.append(torch.cat(resized, dim=1))
        return grouped

    def _resize(self, group: Tensor, source: int, level: int, target: Tensor) -> Tensor:
        if source > level:
            return resize_to(group, target, self.upsample_cfg)
        if source < level:
            return adaptive_average_pool(group, (target.shape[2], target.shape[3]))
        return group


class CascadeFeatureGrouping(nn.Module):
    """Several stages of feature grouping and their weighted sum (Eq. 17).

    ::

        C' - stage 1 - P'^1 - stage 2 - P'^2 - ... - P'^T
                        |                |            |
                     x f_w            x f_w        x f_w      f_w: one per level
                        |                |            |
                        +------(+)-------+-----(+)----+-- P''

    The paper calls f_w two blocks of convolution, normalisation and activation. Here::

        (N, W, h, w) - Conv3x3 - GN - ReLU - Conv3x3 - sigmoid - (N, 1, h, w)

    A level's stages share its f_w, as both terms of Eq. 17 have the same; normalising
    the weight map would then give every stage the same mean weight. W instead of 16
    hidden channels would take 17 ms of the paper's GPU, where all of the second stage
    takes 4.4 ms in Table 2. Each stage has its own G_k, since the groups of P' come
    from different levels. With one stage there is no f_w and the result is P'^1.

    Args:
        num_levels: see ``FeatureGrouping``, as ``channels`` and ``upsample_cfg``.
        channels: W.
        hidden_channels: see ``GroupingMatrix``, as ``rank`` and ``noise``.
        cascade_times: T, the number of stages, at least 1.
        rank: rank of the matrices' distance from the identity.
        noise: spread of the matrices around the identity at the start.
        weight_channels: hidden channels of f_w, at least 2.
        upsample_cfg: how groups of coarser levels are enlarged.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed.
    """

    def __init__(
        self,
        num_levels: int,
        channels: int,
        hidden_channels: int,
        cascade_times: int = 3,
        rank: int | None = None,
        noise: float = 0.01,
        weight_channels: int = 16,
        upsample_cfg: Mapping[str, Any] = GROUP_UPSAMPLING,
    ) -> None:
        super().__init__()
        check_int("cascade_times", cascade_times)
        check_int("weight_channels", weight_channels, minimum=2)
        self.stages = nn.ModuleList(
            FeatureGrouping(
                num_levels, channels, hidden_channels, rank, noise, upsample_cfg
            )
            for _ in range(cascade_times)
        )
        self.stage_weights = nn.ModuleList(
            _weight_convs(channels, weight_channels)
            for _ in range(num_levels if cascade_times > 1 else 0)
        )

    def init_weights(self) -> None:
        """Start every matrix at the identity plus noise."""
        for stage in self.stages:
            for matrix in stage.matrices:
                matrix.init_weights()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Group ``(N, W, h_k, w_k)`` maps, high to low resolution; shapes stay."""
        grouped = self.stages[0](maps)
        if len(self.stages) == 1:
            return grouped
        total = self._weighted(grouped)
        for stage in list(self.stages)[1:]:
            grouped = stage(grouped)
            weighted = self._weighted(grouped)
            total = [a + b for a, b in zip(total, weighted, strict=True)]
        return total

    def _weighted(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [f(x) * x for f, x in zip(self.stage_weights, maps, strict=True)]


def _weight_convs(channels: int, hidden_channels: int) -> nn.Sequential:
    """Return f_w of Eq. 17."""
    norm_cfg = dict(type="GN", num_groups=_num_groups(hidden_channels))
    return nn.Sequential(
        ConvModule(channels, hidden_channels, 3, padding=1, norm_cfg=norm_cfg),
        ConvModule(hidden_channels, 1, 3, padding=1, act_cfg=dict(type="Sigmoid")),
    )


def _num_groups(channels: int) -> int:
    """Return GN's number of groups: as many as leave eight channels or more in each."""
    most = max(1, channels // 8)
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)
