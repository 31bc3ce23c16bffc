"""Adaptive average pooling as two small matrix products."""

from __future__ import annotations

import torch
from torch import Tensor


def adaptive_average_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Average ``x`` over a grid of cells, as ``F.adaptive_avg_pool2d`` does.

    A cell's rows are weighted by one matrix and its columns by another. Unlike the
    operator this can be exported to ONNX at sizes that are no factors of the map's, and
    its gradient is deterministic on a GPU.

    Args:
        x: ``(N, C, H, W)``.
        size: rows and columns of the result; each may be larger than the map's.

    Returns:
        ``(N, C, *size)``.
    """
    rows = _averaging_matrix(x.shape[2], size[0], x)
    columns = _averaging_matrix(x.shape[3], size[1], x)
    return rows @ x @ columns.T  # (size[0], H) @ (N, C, H, W) @ (W, size[1])


def _averaging_matrix(length: int, cells: int, like: Tensor) -> Tensor:
    """Return ``(cells, length)``: row i averages the entries that cell i covers."""
    position = torch.arange(length, device=like.device)
    cell = torch.arange(cells, device=like.device)[:, None]
    # Cell i covers [floor(i·length/cells), ceil((i+1)·length/cells)). Nothing negative
    # is divided: ONNX rounds that towards 0.
    first = cell * length // cells
    last = ((cell + 1) * length + cells - 1) // cells
    covered = ((position >= first) & (position < last)).to(like.dtype)
    return covered / (last - first).to(like.dtype)
