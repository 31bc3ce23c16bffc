"""Adaptive average pooling, first of the rows, then of the columns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .constants import made_once


def adaptive_average_pool(x: Tensor, size: tuple[int | Tensor, int | Tensor]) -> Tensor:
    """Average ``(N, C, H, W)`` over cells, as ``F.adaptive_avg_pool2d`` does.

    Unlike the operator this can be exported to ONNX at sizes that are no factors of the
    map's, keeps no map for the backward pass, and has a deterministic gradient on a
    GPU. On a CPU a training step takes half the operator's time where the sides divide.

    Args:
        x: the map.
        size: rows and columns of the result; each may be larger than the map's. In a
            trace they are tensors, so that the trace pools maps of other sizes right.
    """
    rows, columns = size
    if _divides(rows, x.shape[2]):
        x = x.unflatten(2, (rows, -1)).mean(dim=3)
    else:
        x = _averaging_matrix(x.shape[2], rows, x) @ x
    if _divides(columns, x.shape[3]):
        return x.unflatten(3, (columns, -1)).mean(dim=4)
    return x @ _averaging_matrix(x.shape[3], columns, x).T


def share_of(length: int | Tensor, ratio: float) -> int | Tensor:
    """Return ``max(1, int(ratio * length))``, in a trace as an operation on it."""
    if isinstance(length, Tensor):
        return (length.double() * ratio).long().clamp(min=1)
    return max(1, int(ratio * length))


def _divides(cells: int | Tensor, length: int | Tensor) -> bool:
    return not isinstance(length, Tensor) and length % cells == 0


def _averaging_matrix(
    length: int | Tensor, cells: int | Tensor, like: Tensor
) -> Tensor:
    """Return ``(cells, length)``: row i averages the entries that cell i covers."""
    if not isinstance(length, Tensor):
        return _pooled_identity(like, length, cells)
    position = torch.arange(length, device=like.device)
    cell = torch.arange(cells, device=like.device)[:, None]
    # Cell i covers [floor(i·length/cells), ceil((i+1)·length/cells)). Nothing negative
    # is divided: ONNX rounds that towards 0.
    first = cell * length // cells
    last = ((cell + 1) * length + cells - 1) // cells
    covered = ((position >= first) & (position < last)).to(like.dtype)
    return covered / (last - first).to(like.dtype)


@made_once
def _pooled_identity(
    length: int, cells: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    exact = torch.promote_types(dtype, torch.float32)
    identity = torch.eye(length, device=device, dtype=exact)
    return F.adaptive_avg_pool1d(identity, cells).T.to(dtype)
