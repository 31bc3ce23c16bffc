"""Loading mmengine's checkpoints under torch's safe loading.

From 2.6 on, ``torch.load`` refuses every type that has not been allowed by name, and
mmengine 0.10 stores its log history in checkpoints: its own checkpoints cannot be
loaded any more. Allowing exactly the types of that history keeps the protection on:
whatever else a file holds is still refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def checkpoint_types() -> list[Any]:
    """Return what an mmengine checkpoint holds beside tensors and plain containers.

    Returns:
        Types and functions as ``torch.serialization.add_safe_globals`` takes them: the
        log history, the arrays of float64 and int64 numbers in it, and the numpy number
        that ``save_best`` may store.
    """
    reconstruct_array = np.empty(0).__reduce__()[0]
    reconstruct_number = np.float64(0).__reduce__()[0]
    types: list[Any] = [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
    ]
    # numpy 2 renamed the module of these two; files written by either numpy load.
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):
        types.append((reconstruct_array, f"{module}._reconstruct"))
        types.append((reconstruct_number, f"{module}.scalar"))
    return types


def allow_checkpoint_types() -> None:
    """Allow-list ``checkpoint_types`` for ``torch.load``; safe loading stays on."""
    # Before 2.4 torch has no such list, and does not load safely unless asked to.
    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals(checkpoint_types())
