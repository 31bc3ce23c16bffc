"""Loading mmengine's checkpoints under torch's safe loading.

From 2.6 on, ``torch.load`` refuses every type that has not been allowed by name, and
mmengine 0.10 stores its log history in checkpoints: its own checkpoints cannot be
loaded any more. Allowing exactly the types of that history keeps the protection on:
whatever else a file holds is still refused.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def checkpoint_types() -> list[Any]:
    """Return what an mmengine checkpoint holds beside tensors and plain containers.

    Returns:
        Types and functions as ``torch.serialization.add_safe_globals`` takes them: the
        log history, the arrays of float64 and int64 numbers in it, the numpy number
        that ``save_best`` may store, and ``history_statistic`` in the place of
        ``getattr``.
    """
    reconstruct_array = np.empty(0).__reduce__()[0]
    reconstruct_number = np.float64(0).__reduce__()[0]
    types: list[Any] = [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
        (history_statistic, "builtins.getattr"),
    ]
    # numpy 2 renamed the module of these two; files written by either numpy load.
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):
        types.append((reconstruct_array, f"{module}._reconstruct"))
        types.append((reconstruct_number, f"{module}.scalar"))
    return types


def history_statistic(owner: object, name: str) -> Callable[..., float]:
    """Look up a statistic of the log history, such as its mean.

    The history is pickled with its statistics, which are methods, and pickle writes a
    method as a call of ``getattr``. To allow that as such would open every attribute
    of every object to a file; this function is what such a call gets instead.

    Raises:
        pickle.UnpicklingError: anything but a statistic of ``HistoryBuffer``.
    """
    # The class knows its own statistics only once an instance has been made.
    statistics = HistoryBuffer()._statistics_methods
    public = isinstance(name, str) and not name.startswith("_")
    if owner is not HistoryBuffer or not public or name not in statistics:
        raise pickle.UnpicklingError(
            f"the checkpoint asks for attribute {name!r} of {owner!r}; only statistics "
            f"of mmengine's HistoryBuffer are allowed: {sorted(statistics)}"
        )
    return getattr(HistoryBuffer, name)


def allow_checkpoint_types() -> None:
    """Allow-list ``checkpoint_types`` for ``torch.load``; safe loading stays on."""
    # Before 2.4 torch has no such list, and does not load safely unless asked to.
    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals(checkpoint_types())


def read_checkpoint(path: Path) -> Any:
    """Read a checkpoint onto the processor, by safe loading.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no checkpoint, damaged, or holds what safe loading refuses.
    """
    allow_checkpoint_types()
    with path.open("rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged files fail in many ways
            refused = re.search(r"(?:GLOBAL|Unsupported class) (\S+)", str(error))
            if refused:
                what = f"for safety, files that import {refused[1]} are refused"
            else:
                what = f"not a checkpoint, or damaged ({type(error).__name__})"
            raise ValueError(f"{path} cannot be loaded: {what}") from error


def write_checkpoint(
    content: Mapping[str, Any], path: Path, overwrite: bool = False
) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        FileExistsError: there is such a file, and ``overwrite`` is not set.
        OSError: it cannot be written.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; it is not overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("xb") as file:
            torch.save(content, file)
        unfinished.replace(path)
    except RuntimeError as error:  # what torch makes of a full disk
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
