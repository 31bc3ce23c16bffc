"""What it takes to serve the checkpoints of one released class."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class ReleasedMethod:
    """One released class.

    Args:
        build: takes the released class's constructor arguments and returns our module,
            set to compute the same.
        names: takes the names in a released state dict and returns, for the
            architecture they imply, every name it should have, with our name for it.
        layout: the code base of the authors' detectors, a key of ``detectors.PARTS``.
    """

    build: Callable[..., nn.Module]
    names: Callable[[Collection[str]], dict[str, str]]
    layout: str


BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def conv(released: str, ours: str, bias: bool = True) -> dict[str, str]:
    """Return the names of a plain convolution's parameters."""
    parts = ("weight", "bias") if bias else ("weight",)
    return {f"{released}.{part}": f"{ours}.{part}" for part in parts}


def conv_module(
    released: str, ours: str, norm: bool, norm_name: str = "bn"
) -> dict[str, str]:
    """Return the names of mmcv's ``ConvModule``: a bias, or BN in its place."""
    names = conv(f"{released}.conv", f"{ours}.conv", bias=not norm)
    if norm:
        names |= {f"{released}.{norm_name}.{x}": f"{ours}.bn.{x}" for x in BATCH_NORM}
    return names


def count(names: Collection[str], prefix: str) -> int:
    """Return one more than the largest index behind ``prefix.``; 0 if there is none."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)(?:\.|$)")
    found = [int(match[1]) for name in names if (match := pattern.match(name))]
    return max(found, default=-1) + 1


def check_end_level(end_level: int, num_ins: int) -> None:
    """Raise a ValueError unless ``end_level``, which is exclusive, takes all levels."""
    if end_level not in (-1, num_ins):
        raise ValueError(
            f"end_level must be -1 or {num_ins}: the released class fails with others, "
            f"got {end_level!r}"
        )
