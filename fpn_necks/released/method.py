"""What it takes to serve the checkpoints of one released class."""

from __future__ import annotations

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
    """

    build: Callable[..., nn.Module]
    names: Callable[[Collection[str]], dict[str, str]]


BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def conv(released: str, ours: str, bias: bool = True) -> dict[str, str]:
    """Return the names of a plain convolution's parameters."""
    parts = ("weight", "bias") if bias else ("weight",)
    return {f"{released}.{part}": f"{ours}.{part}" for part in parts}


def batch_norm(released: str, ours: str) -> dict[str, str]:
    """Return the names of a batch normalisation's parameters and statistics."""
    return {f"{released}.{part}": f"{ours}.{part}" for part in BATCH_NORM}


def conv_module(released: str, ours: str, norm: bool) -> dict[str, str]:
    """Return the names of mmcv's ``ConvModule``: a bias, or BN in its place."""
    names = conv(f"{released}.conv", f"{ours}.conv", bias=not norm)
    return {**names, **batch_norm(f"{released}.bn", f"{ours}.bn")} if norm else names


def count(names: Collection[str], prefix: str) -> int:
    """Return one more than the largest index behind ``prefix.``; 0 if there is none."""
    found = [
        int(name[len(prefix) + 1 :].split(".")[0])
        for name in names
        if name.startswith(f"{prefix}.")
        and name[len(prefix) + 1 :].split(".")[0].isdigit()
    ]
    return max(found, default=-1) + 1
