"""Which backbone levels a pyramid uses, and how many it adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from .arguments import check_int

T = TypeVar("T")


@dataclass(frozen=True)
class LevelRange:
    """The backbone levels a neck uses and the levels it adds on top of them.

    The one place that validates level arguments. They mean what they mean in mmdet's
    ``FPN``, whose levels are ordered from the highest resolution to the lowest.

    Args:
        num_ins: number of maps the backbone gives, at least 1.
        num_outs: number of maps the neck returns. More than the used levels are
            possible only when the last backbone level is used.
        start_level: index of the first used backbone level, inclusive.
        end_level: index of the last used backbone level, inclusive; -1 is the last.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: the range is empty or outside the backbone's levels, or
            ``num_outs`` does not fit it.
    """

    num_ins: int
    num_outs: int
    start_level: int = 0
    end_level: int = -1

    def __post_init__(self) -> None:
        check_int("the number of in_channels", self.num_ins)
        check_int("start_level", self.start_level, 0, self.num_ins - 1)
        check_int("end_level", self.end_level, None)
        if self.end_level != -1 and not (
            self.start_level <= self.end_level < self.num_ins
        ):
            raise ValueError(
                f"end_level must be -1 or lie in [start_level={self.start_level}, "
                f"{self.num_ins - 1}], got {self.end_level}"
            )
        check_int("num_outs", self.num_outs, None)
        if self.num_outs < self.num_used:
            raise ValueError(
                f"num_outs must be at least {self.num_used}, the number of used "
                f"backbone levels ({self.start_level} to {self.last_index}), "
                f"got {self.num_outs}"
            )
        if self.num_extra and self.last_index != self.num_ins - 1:
            raise ValueError(
                f"num_outs must be {self.num_used}, got {self.num_outs}: extra levels "
                f"need the last backbone level, and end_level is {self.end_level}"
            )

    @property
    def last_index(self) -> int:
        """Index of the last used backbone level."""
        return self.num_ins - 1 if self.end_level == -1 else self.end_level

    @property
    def num_used(self) -> int:
        """Number of used backbone levels."""
        return self.last_index - self.start_level + 1

    @property
    def num_extra(self) -> int:
        """Number of levels added on top of the used ones."""
        return self.num_outs - self.num_used

    def select(self, per_level: Sequence[T]) -> list[T]:
        """Return the used entries of a sequence that has one entry per backbone level.

        Raises:
            ValueError: the sequence does not have ``num_ins`` entries.
        """
        if len(per_level) != self.num_ins:
            raise ValueError(
                f"expected {self.num_ins} feature maps, one per entry of in_channels, "
                f"got {len(per_level)}"
            )
        return list(per_level[self.start_level : self.last_index + 1])


def check_maps(maps: Sequence[Tensor], channels: Sequence[int] = ()) -> list[Tensor]:
    """Return maps as a list, if they are what a pyramid can be made of.

    PyTorch would take a tensor for a list of unbatched maps, and add a map of one image
    to those of all images of the batch. A trace holds no tests of sizes, which are
    tensors there.

    Args:
        maps: one ``(N, C_i, H_i, W_i)`` map per level.
        channels: C_i of each map; empty, if they may be any.

    Raises:
        TypeError: they are no list of floating-point tensors.
        ValueError: a map has no image or no pixel, or other dimensions than four;
            their widths are not ``channels``, or their numbers of images differ.
    """
    if not isinstance(maps, list | tuple):
        raise TypeError(
            f"inputs must be a list of feature maps, got {type(maps).__name__}"
        )
    for i, x in enumerate(maps):
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(
                f"feature map {i} must be a tensor of floating-point numbers, got "
                f"{x.dtype if isinstance(x, Tensor) else type(x).__name__}"
            )
    if torch.jit.is_tracing():
        return list(maps)
    for i, x in enumerate(maps):
        if x.dim() != 4 or 0 in x.shape:
            raise ValueError(
                f"feature map {i} must have the shape (N, C, H, W), none of them 0, "
                f"got {tuple(x.shape)}"
            )
        if channels and x.shape[1] != channels[i]:
            raise ValueError(
                f"feature map {i} must have {channels[i]} channels, as in_channels "
                f"says, got the shape {tuple(x.shape)}"
            )
        if x.shape[0] != maps[0].shape[0]:
            raise ValueError(
                f"feature map {i} has {x.shape[0]} images, but feature map 0 has "
                f"{maps[0].shape[0]}"
            )
    return list(maps)
