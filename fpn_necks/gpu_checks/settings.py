"""How large the checks are, and where they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Scale:
    """The sizes of one run.

    Args:
        in_channels: widths of the backbone's maps C2 to C5.
        out_channels: width of the pyramid.
        size: (height, width) in pixels of the images that correctness is checked at.
        cost_size: the same, of the images that costs are measured at.
        batch: images per batch.
        pairs: runs per measured ratio.
        steps: of training under mixed precision.
        compiler: backend of ``torch.compile``.
        narrow_backbones: detectors get a ResNet-18 of 16 channels.
    """

    in_channels: tuple[int, ...]
    out_channels: int
    size: tuple[int, int]
    cost_size: tuple[int, int]
    batch: int
    pairs: int
    steps: int
    compiler: str
    narrow_backbones: bool


FULL = Scale(
    in_channels=(256, 512, 1024, 2048),  # of ResNet-50
    out_channels=256,
    size=(256, 384),
    cost_size=(800, 1344),
    batch=2,
    pairs=15,
    steps=20,
    compiler="inductor",
    narrow_backbones=False,
)
QUICK = Scale(
    in_channels=(8, 16, 24, 32),
    out_channels=16,
    size=(64, 96),
    cost_size=(64, 96),
    batch=2,
    pairs=2,
    steps=3,
    compiler="aot_eager",
    narrow_backbones=True,
)
GRADCHECK = Scale(
    in_channels=(4, 4, 8, 8),
    out_channels=8,
    size=(32, 48),
    cost_size=(32, 48),
    batch=2,
    pairs=1,
    steps=1,
    compiler="aot_eager",
    narrow_backbones=True,
)


@dataclass(frozen=True)
class Settings:
    """What a run of the checks was asked for.

    Args:
        device: as torch names it: ``cuda``, ``cuda:1``, ``cpu``.
        quick: small widths and sizes.
        only: names of checks, or parts of the names of subjects; empty: all.
        golden: folder with golden numbers (``*.npz``); ``None``: none are compared.
        minutes: after so many no further check begins.
    """

    device: str = "cuda"
    quick: bool = False
    only: tuple[str, ...] = ()
    golden: str | None = None
    minutes: float = 9.0

    @property
    def scale(self) -> Scale:
        """The sizes."""
        return QUICK if self.quick else FULL

    @property
    def torch_device(self) -> torch.device:
        """The device, as torch's own object."""
        return torch.device(self.device)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA GPU."""
        return self.torch_device.type == "cuda"

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name; ``from_json`` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Settings:
        """Return the settings that ``to_json`` wrote."""
        return cls(**{**fields, "only": tuple(fields["only"])})
