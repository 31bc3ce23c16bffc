"""Checkpoints: read by safe loading alone, written whole or not at all.

From 2.6 on, ``torch.load`` refuses every type that has not been allowed by name, and
mmengine 0.10 stores its log history in checkpoints: its own checkpoints cannot be
loaded any more. Allowing exactly the types of that history keeps the protection on:
whatever else a file holds is still refused. mmengine's own loading is as safe as
torch's default, which is not before 2.6, or with TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD: our
tools read a file by ``read_checkpoint`` before they hand it to mmengine.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from .whole_files import whole_file


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


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a checkpoint onto the processor, by safe loading whatever torch's default.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no checkpoint, damaged, or holds what safe loading refuses.
    """
    allow_checkpoint_types()
    with Path(path).open("rb") as file:
        try:
            return _load(file)
        except Exception as error:  # damaged files fail in many ways
            refused = re.search(r"(?:GLOBAL|Unsupported class) (\S+)", str(error))
            if refused:
                what = f"for safety, files that import {refused[1]} are refused"
            elif "TorchScript" in str(error):
                what = "for safety, TorchScript archives are refused"
            elif isinstance(error, pickle.UnpicklingError) and "only st" in str(error):
                what = "for safety, files that ask for attributes are refused"
            else:
                what = f"not a checkpoint, or damaged ({type(error).__name__})"
            raise ValueError(f"{path} cannot be loaded: {what}") from error


def require_safe_checkpoint(path: str | os.PathLike[str]) -> None:
    """Refuse a file before mmengine or mmdet loads it by torch's default.

    Args:
        path: a file; addresses that mmengine downloads are not looked at.

    Raises:
        ValueError: see ``read_checkpoint``.
        OSError: the file cannot be opened.
    """
    file = Path(path).expanduser()
    if file.exists():
        read_checkpoint(file)


def write_checkpoint(
    content: Mapping[str, Any], path: Path, overwrite: bool = False
) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        FileExistsError: there is such a file, and ``overwrite`` is not set.
        OSError: it cannot be written.
    """
    try:
        with whole_file(path, overwrite) as file:
            torch.save(content, file)
    except RuntimeError as error:  # what torch makes of a full disk
        reason = error.__context__ if isinstance(error.__context__, OSError) else error
        raise OSError(f"{path} cannot be written: {reason}") from error


def _load(file: IO[bytes]) -> Any:
    if hasattr(torch.serialization, "add_safe_globals"):
        _refuse_torchscript(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    return load_restricted(file)


def load_restricted(file: IO[bytes]) -> Any:
    """Load a checkpoint safely with torch before 2.4; see ``restricted_pickle``.

    Raises:
        Exception: as ``torch.load``; of files that are refused UnpicklingError.
    """
    from . import restricted_pickle

    _refuse_torchscript(file)
    return torch.load(
        file, map_location="cpu", pickle_module=restricted_pickle, weights_only=False
    )


def _refuse_torchscript(file: IO[bytes]) -> None:
    """Refuse archives of which torch runs parts, whatever unpickles the rest."""
    # With torch's own reader, so that both see the same archive.
    if torch.serialization._is_zipfile(file):
        with torch.serialization._open_zipfile_reader(file) as archive:
            if torch.serialization._is_torchscript_zip(archive):
                raise pickle.UnpicklingError("TorchScript archive")
    file.seek(0)
