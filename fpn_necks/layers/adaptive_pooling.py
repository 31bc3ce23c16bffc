"""Adaptive average pooling as two small matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def adaptive_average_pool(x: Tensor, size: tuple[int | Tensor, int | Tensor]) -> Tensor:
    """Average ``x`` over a grid of cells, as ``F.adaptive_avg_pool2d`` does.

    A cell's rows are weighted by one matrix and its columns by another. Unlike the
    operator this can be exported to ONNX at sizes that are no factors of the map's, and
    its gradient is deterministic on a GPU.

    Args:
        x: ``(N, C, H, W)``.
        size: rows and columns of the result; each may be larger than the map's. In a
            trace they are tensors, so that the trace pools maps of other sizes right.

    Returns:
        ``(N, C, *size)``.
    """
    rows = _averaging_matrix(x.shape[2], size[0], x)
    columns = _averaging_matrix(x.shape[3], size[1], x)
    return rows @ x @ columns.T  # (size[0], H) @ (N, C, H, W) @ (W, size[1])


def share_of(length: int | Tensor, ratio: float) -> int | Tensor:
    """Return ``max(1, int(ratio * length))``, in a trace as an operation on it."""
    if isinstance(length, Tensor):
        return (length.double() * ratio).long().clamp(min=1)
    return max(1, int(ratio * length))


def _averaging_matrix(
    length: int | Tensor, cells: int | Tensor, like: Tensor
) -> Tensor:
    """Return ``(cells, length)``: row i averages the entries that cell i covers."""
    if not isinstance(length, Tensor):
        # Pooled rows of the identity are the weights: a few launches instead of many.
        dtype = torch.promote_types(like.dtype, torch.float32)
        identity = torch.eye(length, device=like.device, dtype=dtype)
        return F.adaptive_avg_pool1d(identity, cells).T.to(like.dtype)
    position = torch.arange(length, device=like.device)
    cell = torch.arange(cells, device=like.device)[:, None]
    # Cell i covers [floor(i·length/cells), ceil((i+1)·length/cells)). Nothing negative
    # is divided: ONNX rounds that towards 0.
    first = cell * length // cells
    last = ((cell + 1) * length + cells - 1) // cells
    covered = ((position >= first) & (position < last)).to(like.dtype)
    return covered / (last - first).to(like.dtype)
