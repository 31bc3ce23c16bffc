"""Costs of necks alone, in each precision, beside FPN and the device's limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fpn_necks.costs.neck_comparison import (
    BASE,
    NECKS,
    PYRAMIDS,
    build_neck,
    measure_neck,
)

from .limits import Limits, least_bytes, measure_limits
from .numeric import tensor_float
from .outcomes import Unsupported, one_line
from .settings import Scale
from .subjects import make_maps


@dataclass(frozen=True)
class Mode:
    """A precision and a memory layout.

    Args:
        title: for the report.
        dtype: of autocast; ``None``: float32.
        allow_tf32: in float32.
        channels_last: in memory.
    """

    title: str
    dtype: torch.dtype | None = None
    allow_tf32: bool = False
    channels_last: bool = False

    @property
    def bytes_per_number(self) -> int:
        """Of what is read and written."""
        return 4 if self.dtype is None else 2


MODES = {
    "fp32": Mode("float32"),
    "tf32": Mode("float32 with TF32", allow_tf32=True),
    "fp16": Mode("autocast float16", torch.float16),
    "bf16": Mode("autocast bfloat16", torch.bfloat16),
    "fp16-channels-last": Mode(
        "autocast float16, channels last", torch.float16, channels_last=True
    ),
}
_CPU_MODES = ("fp32", "bf16")


def modes_of(device: torch.device) -> list[str]:
    """Return the names of the modes that make sense on a device."""
    return list(MODES) if device.type == "cuda" else list(_CPU_MODES)


class Autocast(nn.Module):
    """A module that runs under autocast.

    Args:
        module: what runs.
        device_type: ``cuda`` or ``cpu``.
        dtype: half precision.
    """

    def __init__(self, module: nn.Module, device_type: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.device_type = device_type
        self.dtype = dtype

    def forward(self, *inputs: Any) -> Any:
        """Return what the module returns."""
        with torch.autocast(self.device_type, self.dtype):
            return self.module(*inputs)


def measure_in_mode(
    title: str, mode: Mode, scale: Scale, device: torch.device
) -> dict[str, Any]:
    """Measure a neck beside the base.

    Returns:
        The numbers of ``measure_neck``, and ``limit_milliseconds``: the least time of
        a forward pass by this device's measured limits.

    Raises:
        Unsupported: mmcv has no such operator for the device.
        Exception: whatever else the neck raises where it cannot run.
    """
    with _precision(mode):
        base = _prepare(BASE, mode, scale, device)
        neck = _prepare(title, mode, scale, device)
        layout = torch.channels_last if mode.channels_last else torch.preserve_format
        maps = [
            x.to(device, memory_format=layout).requires_grad_()
            for x in make_maps(scale.in_channels, scale.batch, scale.cost_size)
        ]
        try:
            numbers = measure_neck(base, neck, maps, scale.pairs)
        except RuntimeError as error:
            # mmcv's words where an operator is there for other devices alone.
            if "implementation for device" not in str(error):
                raise
            raise Unsupported(one_line(error)) from error
        limits = measure_limits(device, mode.dtype or torch.float32)
        with torch.no_grad():
            outputs = neck(maps)
        moved = least_bytes(neck, maps, outputs, mode.bytes_per_number)
    return numbers | _at_the_limit(numbers, limits, moved)


def _at_the_limit(
    numbers: Mapping[str, Any], limits: Limits, moved: int
) -> dict[str, Any]:
    counted = numbers["multiply_adds"]
    found: dict[str, Any] = dict(
        device_multiply_adds_per_second=limits.multiply_adds,
        device_bytes_per_second=limits.bytes,
        least_bytes=moved,
    )
    if counted is not None:
        seconds = limits.seconds(counted, moved)
        found["limit_milliseconds"] = 1e3 * seconds
        found["share_of_limit"] = 1e3 * seconds / numbers["forward"]["milliseconds"]
    return found


def _prepare(title: str, mode: Mode, scale: Scale, device: torch.device) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # A rank cannot be above the width, which --quick makes small.
        stages = [
            {**stage, "rank": min(stage["rank"], scale.out_channels)}
            if "rank" in stage
            else stage
            for stage in NECKS[title]
        ]
        neck = build_neck(
            stages,
            PYRAMIDS["faster-rcnn"],
            scale.in_channels,
            scale.out_channels,
        ).to(device)
    if mode.channels_last:
        neck = neck.to(memory_format=torch.channels_last)
    return neck if mode.dtype is None else Autocast(neck, device.type, mode.dtype)


@contextmanager
def _precision(mode: Mode) -> Iterator[None]:
    with tensor_float(mode.allow_tf32):
        yield
