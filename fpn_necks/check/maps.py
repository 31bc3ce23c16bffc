"""Sizes of maps, and the heads that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

IMAGE_SIZE = (512, 768)
"""(height, width) in pixels: multiples of 256, not too small for SSD300."""

Stride = tuple[float, float]


@dataclass(frozen=True)
class MapSize:
    """The shape of one map of an image of ``IMAGE_SIZE``."""

    channels: int
    height: int
    width: int

    @property
    def stride(self) -> Stride:
        """(x, y) in pixels of the image."""
        rows, columns = IMAGE_SIZE
        inf = float("inf")
        return (
            columns / self.width if self.width else inf,
            rows / self.height if self.height else inf,
        )


@dataclass
class Maps:
    """What came out of backbone, each stage of the neck, and all of them.

    ``None`` where something failed; ``error`` says what. ``device`` is where it ran.
    """

    backbone: list[MapSize] | None = None
    stages: list[list[MapSize]] = field(default_factory=list)
    outputs: list[MapSize] | None = None
    error: Exception | None = None
    device: str = "meta"


@dataclass(frozen=True)
class Head:
    """A dense head or RoI extractor that says which strides it expects.

    Args:
        name: in ``model.named_modules()``.
        key: the config key of its strides.
        strides: (x, y) in pixels, one per map.
        reads_all: whether it needs as many strides as there are maps; an RoI extractor
            reads the first ones.
        module: the module itself.
    """

    name: str
    key: str
    strides: tuple[Stride, ...]
    reads_all: bool
    module: nn.Module = field(repr=False)

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.module).__name__

    def fits(self, maps: Sequence[MapSize]) -> bool:
        """Tell whether its strides are those of the maps."""
        if self.reads_all and len(self.strides) != len(maps):
            return False
        return len(self.strides) <= len(maps) and all(
            # Maps of one or two cells say little about their stride, and some networks
            # (SSD) lose a row or two. Wrong levels are off by a factor of two.
            cells <= 2 or 1 / 1.5 < stride / wanted < 1.5
            for expected, size in zip(self.strides, maps, strict=False)
            for cells, stride, wanted in zip(
                (size.width, size.height), size.stride, expected, strict=True
            )
        )


def meta_maps(sizes: Sequence[MapSize], images: int = 1) -> tuple[Tensor, ...]:
    """Return maps of these sizes without numbers."""
    return tuple(
        torch.empty(images, s.channels, s.height, s.width, device="meta") for s in sizes
    )


def map_sizes(output: Any) -> list[MapSize]:
    """Return the sizes of a module's maps; what else it returns is left out."""
    items = output if isinstance(output, list | tuple) else [output]
    return [
        MapSize(*item.shape[1:])
        for item in items
        if isinstance(item, Tensor) and item.ndim == 4
    ]
