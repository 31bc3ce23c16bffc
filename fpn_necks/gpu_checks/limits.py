"""How fast a device can be at all: measured, and what that means for a module."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpn_necks.costs.timing import seconds_of

MATRIX = {"cuda": 8192, "cpu": 256}
MEGABYTES = {"cuda": 1024, "cpu": 16}


@dataclass(frozen=True)
class Limits:
    """The best that a device reached in this run.

    Args:
        multiply_adds: per second, of a product of large square matrices.
        bytes: per second, read and written while a large block is copied.
    """

    multiply_adds: float
    bytes: float

    def seconds(self, multiply_adds: float, moved: float) -> float:
        """Return the least time of so many multiply-adds and bytes (the roofline)."""
        return max(multiply_adds / self.multiply_adds, moved / self.bytes)


def measure_limits(
    device: torch.device, dtype: torch.dtype = torch.float32, runs: int = 7
) -> Limits:
    """Measure a device; in float32 with TF32 where it is allowed at the time.

    Args:
        device: to measure.
        dtype: of the matrices.
        runs: of which the median counts.
    """
    side = MATRIX[device.type]
    a = torch.randn(side, side, device=device, dtype=dtype)
    result = torch.empty_like(a)
    count = MEGABYTES[device.type] * 2**20 // 4
    source = torch.zeros(count, device=device)
    target = torch.empty_like(source)
    product = _median(lambda: torch.matmul(a, a, out=result), device, runs)
    copy = _median(lambda: target.copy_(source), device, runs)
    return Limits(side**3 / product, 2 * 4 * count / copy)


def _median(function, device: torch.device, runs: int) -> float:
    for _ in range(3):
        function()
    seconds = [seconds_of(function, device, time.perf_counter) for _ in range(runs)]
    return max(statistics.median(seconds), 1e-9)


def least_bytes(
    module: nn.Module, maps: Sequence[Tensor], outputs: Sequence[Tensor], size: int
) -> int:
    """Return the bytes that a forward pass must move: all read or written once.

    Maps between the steps are left out, as if every step were fused.

    Args:
        module: its parameters are read.
        maps: that are read.
        outputs: that are written.
        size: bytes of a number.
    """
    numbers = sum(p.numel() for p in module.parameters())
    numbers += sum(x.numel() for x in (*maps, *outputs))
    return numbers * size
