"""Modules that are wrong in one way each, for checks that must find it."""

from typing import Any

import torch
from torch import Tensor, nn

from fpn_necks.gpu_checks.settings import Scale
from fpn_necks.gpu_checks.subjects import Subject


class Plain(nn.Module):
    """Right: a conv per map."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c, 4, 1) for c in channels)
        self.spare = nn.Parameter(torch.ones(4))

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        scale = self.spare[:, None, None]
        return tuple(
            self.change(scale * conv(x))
            for conv, x in zip(self.convs, maps, strict=True)
        )

    def change(self, y: Tensor) -> Tensor:
        return y


class OtherInSinglePrecision(Plain):
    """As a device would be that computes something else."""

    def change(self, y: Tensor) -> Tensor:
        return y * 1.01 if y.dtype == torch.float32 else y


class NoGradient(Plain):
    def forward(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(conv(x) for conv, x in zip(self.convs, maps, strict=True))


class ZeroGradient(NoGradient):
    def forward(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(y + 0 * self.spare.sum() for y in super().forward(maps))


class _NaNBackward(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, y: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * float("nan")


class NaNGradient(Plain):
    def change(self, y: Tensor) -> Tensor:
        return _NaNBackward.apply(y)


class _WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, y: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * 1.1


class WrongGradient(Plain):
    def change(self, y: Tensor) -> Tensor:
        return _WrongBackward.apply(y)


class NaNOutput(Plain):
    def change(self, y: Tensor) -> Tensor:
        return y / (y - y)


class OverflowsInHalf(NoGradient):
    def forward(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(
            y if y.dtype == torch.float32 else y * 1e38 * 1e3
            for y in super().forward(maps)
        )


class DependsOnLayout(Plain):
    """Reads memory as if it were contiguous, as mmcv's RoIAlign does."""

    def change(self, y: Tensor) -> Tensor:
        return torch.as_strided(y, y.shape, torch.empty(y.shape).stride())


class OtherWhenCompiled(Plain):
    def change(self, y: Tensor) -> Tensor:
        return y * 1.01 if torch.compiler.is_compiling() else y


class BreaksTheGraph(Plain):
    def change(self, y: Tensor) -> Tensor:
        return y if y.detach().sum().item() > 0 else -y


def subject(kind: type[nn.Module]) -> Subject:
    """Return a subject that builds such a module."""

    class Broken(Subject):
        def build(self, scale: Scale) -> nn.Module:
            torch.manual_seed(0)
            return kind(scale.in_channels)

    return Broken(kind.__name__, lambda scale: [])
