"""Fusion factors: how much of the upper level a top-down connection passes on.

Gong et al., "Effective Fusion Factor in FPN for Tiny Object Detection", WACV 2021
(arXiv 2011.02298): α_i^{i+1} of Eq. 1. Connection 0 joins the two levels of the highest
resolution. Section 3.2 compares the kinds of α here.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .arguments import check_bool, check_choice


class FusionFactor(nn.Module):
    """Base of all kinds of α; a subclass says where α comes from.

    Args:
        num_connections: number of top-down connections, the used levels less one.
        channels: width of the maps.
    """

    numbers: list[float] | None = None
    """α of each connection, if it is known before any map is."""

    def __init__(self, num_connections: int, channels: int) -> None:
        super().__init__()
        self.num_connections = num_connections

    def alpha_of(self, connection: int, upper: Tensor) -> float | Tensor:
        """Return α of a connection: a number, a scalar or ``(N, 1, 1, 1)``."""
        return self.numbers[connection]

    def forward(self, connection: int, upper: Tensor) -> Tensor:
        """Return α times ``upper``, a ``(N, C, H, W)`` map.

        Scaling comes before upsampling: the result is the same (bit for bit with
        nearest upsampling) and the map has a quarter of the elements.
        """
        return upper * self.alpha_of(connection, upper)


class FixedFusionFactor(FusionFactor):
    """α given by the config: the baseline (1), the brute-force search, a published set.

    The buffer is not saved: the config decides, a checkpoint never overrides it.

    Args:
        num_connections: see ``FusionFactor``, like ``channels``.
        factor: see ``check_factors``.
    """

    def __init__(
        self, num_connections: int, channels: int, factor: float | Sequence[float]
    ) -> None:
        super().__init__(num_connections, channels)
        self.numbers = check_factors(factor, num_connections)
        self.register_buffer("alpha", torch.tensor(self.numbers), persistent=False)


class StatisticFusionFactor(FusionFactor):
    """S-α: α is the ratio of the objects on neighbouring levels (Eq. 2, Alg. 1).

    The numbers come from the training set, through ``FusionFactorHook`` or ``set``, and
    are saved with the weights. A state dict without them (of an mmdet ``FPN``) loads
    without a missing key and leaves α unset; using the neck then raises an error that
    says what to do.

    Args:
        num_connections: see ``FusionFactor``, like ``channels``.
        count: what ``FusionFactorHook`` counts per level. ``'released'``: anchors that
            are the best of an object, each once per image or tile, α clamped to
            [0.2, 2] (the released code). ``'best_anchor'``: objects, by the anchor of
            highest IoU, without a clamp (the paper). ``'positives'``: positive anchors
            under the detector's own assigner, α clamped (ours). FCOS, which has no
            anchors, counts objects by its regress ranges.

    Raises:
        ValueError: ``count`` is unknown.
    """

    COUNTS = ("released", "best_anchor", "positives")

    def __init__(
        self, num_connections: int, channels: int, count: str = "released"
    ) -> None:
        super().__init__(num_connections, channels)
        self.count = check_choice("count", count, self.COUNTS)
        self.register_buffer("alpha", torch.full((num_connections,), math.nan))
        self._known: list[float] | None = None

    @property
    def is_set(self) -> bool:
        """Whether α has been set or loaded."""
        # Reading the buffer makes a GPU wait and ends a compiled graph: it is done
        # when α is set or loaded, and here where something else filled the buffer.
        if self._known is None:
            found = self.alpha.tolist()
            if not any(map(math.isnan, found)):
                self._known = found
        return self._known is not None

    @property
    def numbers(self) -> list[float]:
        """α of each connection.

        Raises:
            RuntimeError: α has not been set.
        """
        if not self.is_set:
            raise RuntimeError(
                "the statistic fusion factor (S-alpha) is not set: train with "
                "custom_hooks=[dict(type='FusionFactorHook')], load a checkpoint of "
                "such a training, or write the numbers that fpn-necks alpha prints "
                "into the config as fusion_factor=[...]"
            )
        return self._known

    def set(self, factors: Sequence[float]) -> None:
        """Set α, one number per connection; see ``check_factors``."""
        values = check_factors(list(factors), self.num_connections)
        self.alpha.copy_(torch.tensor(values))
        self._known = values

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        self._known = None
        if not self.alpha.is_meta:
            _ = self.is_set
        _metadata, _strict, missing_keys, *_ = others
        if f"{prefix}alpha" in missing_keys:
            missing_keys.remove(f"{prefix}alpha")


class LearnableFusionFactor(FusionFactor):
    """α as a parameter: "one-α" (shared) or "three-α" (one per connection) of Table 1.

    α is not constrained, as the paper does not constrain it. Weight decay acts on it as
    on any weight; ``paramwise_cfg=dict(custom_keys={'fusion_factor.alpha':
    dict(decay_mult=0.0)})`` spares it.

    Args:
        num_connections: see ``FusionFactor``, like ``channels``.
        shared: one parameter for all connections instead of one per connection.
        init: initial values, see ``check_factors``; the paper gives none, 1 starts from
            the plain pyramid.
    """

    def __init__(
        self,
        num_connections: int,
        channels: int,
        shared: bool = False,
        init: float | Sequence[float] = 1.0,
    ) -> None:
        super().__init__(num_connections, channels)
        self.shared = check_bool("shared", shared)
        size = min(1, num_connections) if shared else num_connections
        factors = check_factors(init, size, "init")
        # A parameter without entries gets no gradient, for which distributed training
        # would wait.
        self.alpha = nn.Parameter(torch.tensor(factors)) if factors else None

    def alpha_of(self, connection: int, upper: Tensor) -> Tensor:
        """Return the learned α, a scalar."""
        return self.alpha[0 if self.shared else connection]


class AttentionFusionFactor(FusionFactor):
    """α computed from the upper level: "atten-α" of Table 1.

    Fig. 6 of the paper fixes the idea only (a self-attention module whose output is
    α). Here, per connection: global average pool of the upper level → 1x1 conv to a
    quarter of the channels → ReLU → 1x1 conv to one → sigmoid. So α lies in (0, 1),
    one per image and connection.
    """

    def __init__(self, num_connections: int, channels: int) -> None:
        super().__init__(num_connections, channels)
        hidden = max(1, channels // 4)
        self.attention = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(channels, hidden, 1),
                nn.ReLU(),
                nn.Conv2d(hidden, 1, 1),
                nn.Sigmoid(),
            )
            for _ in range(num_connections)
        )

    def alpha_of(self, connection: int, upper: Tensor) -> Tensor:
        """Return one α in (0, 1) per image, ``(N, 1, 1, 1)``."""
        return self.attention[connection](upper).to(upper.dtype)


def check_factors(
    factor: float | Sequence[float],
    num_connections: int,
    name: str = "fusion_factor",
) -> list[float]:
    """Return one α per connection.

    Args:
        factor: one α ≥ 0 for all connections, or a list of one per connection,
            highest resolution first.
        num_connections: number of top-down connections.
        name: how the user calls the argument.

    Raises:
        TypeError: not a number or a sequence of numbers.
        ValueError: wrong length, or an α that is negative or not finite.
    """
    if _is_number(factor):
        factors = [factor] * num_connections
    elif isinstance(factor, Sequence) and all(map(_is_number, factor)):
        factors = list(factor)
    else:
        raise TypeError(
            f"{name} must be a number or a list of {num_connections} numbers, "
            f"got {factor!r}"
        )
    if len(factors) != num_connections:
        raise ValueError(
            f"{name} must have {num_connections} entries, one per top-down connection "
            f"(the used levels less one), got {len(factors)}: {factor!r}"
        )
    if not all(0 <= value <= torch.finfo(torch.float32).max for value in factors):
        raise ValueError(f"{name} must be finite and at least 0, got {factor!r}")
    return [float(value) for value in factors]


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
