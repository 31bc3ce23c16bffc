"""The ``fusion_factor`` argument of necks that have a top-down path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.registry import MODELS

from fpn_necks.layers import (
    AttentionFusionFactor,
    FixedFusionFactor,
    FusionFactor,
    LearnableFusionFactor,
    StatisticFusionFactor,
)

FUSION_FACTORS: dict[str, type[FusionFactor]] = {
    kind.__name__: kind
    for kind in (
        AttentionFusionFactor,
        FixedFusionFactor,
        LearnableFusionFactor,
        StatisticFusionFactor,
    )
}
for _kind in FUSION_FACTORS.values():
    MODELS.register_module(module=_kind)

# Strings can be given on the command line (--cfg-options), dicts cannot.
NAMED_FUSION_FACTORS: dict[str, dict[str, Any]] = {
    "statistic": dict(type="StatisticFusionFactor"),
    "learnable": dict(type="LearnableFusionFactor"),
    "learnable-shared": dict(type="LearnableFusionFactor", shared=True),
    "attention": dict(type="AttentionFusionFactor"),
}
FUSION_FACTOR_CHOICES = (
    "a number, a list of one per top-down connection (the highest resolution first), "
    f"{', '.join(map(repr, NAMED_FUSION_FACTORS))} or the config of a fusion factor"
)


def build_fusion_factor(
    fusion_factor: float | Sequence[float] | str | Mapping[str, Any],
    num_connections: int,
    channels: int,
) -> FusionFactor:
    """Build α, as ``SAlphaFPN`` describes its ``fusion_factor`` argument.

    Raises:
        TypeError: neither a number, a list, a name nor a config.
        ValueError: an unknown name or type, or values that are not allowed.
    """
    if isinstance(fusion_factor, str):
        if fusion_factor not in NAMED_FUSION_FACTORS:
            raise ValueError(
                f"fusion_factor must be {FUSION_FACTOR_CHOICES}, got {fusion_factor!r}"
            )
        config = dict(NAMED_FUSION_FACTORS[fusion_factor])
    elif isinstance(fusion_factor, Mapping):
        config = dict(fusion_factor)
    else:
        config = dict(type="FixedFusionFactor", factor=fusion_factor)

    kind = config.pop("type", None)
    # Our own first: a look into the registry imports all of mmdet's models, which needs
    # mmcv's compiled ops.
    if isinstance(kind, str):
        found = FUSION_FACTORS.get(kind) or MODELS.get(kind)
    else:
        found = kind
    if not (isinstance(found, type) and issubclass(found, FusionFactor)):
        raise ValueError(
            f"fusion_factor's type must be one of {sorted(FUSION_FACTORS)} or another "
            f"registered FusionFactor, got {kind!r}"
        )
    return found(num_connections=num_connections, channels=channels, **config)
