"""Checkpoints: loaded safely, written whole or not at all.

mmengine stores its log history in checkpoints, which ``torch.load`` with
``weights_only=True`` refuses. Here exactly the types of that history are allowed;
whatever else a file holds is still refused. mmengine itself loads by torch's default,
which is not safe before torch 2.6: our tools read files by `read_checkpoint`.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from .io import atomic_write


def history_statistic(owner: object, name: str) -> Callable[..., float]:
    """Look up a statistic of the log history, in the place of ``getattr``.

    The history is pickled with its statistics, which are methods, and pickle writes a
    method as a call of ``getattr``. To allow that as such would open every attribute
    of every object to a file.

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


def _renamed(name: str, function: Callable) -> Callable:
    # torch 2.4 and 2.5 take no pairs of an object and the name that files have for it.
    def renamed(*arguments: Any) -> Any:
        return function(*arguments)

    renamed.__module__, renamed.__name__ = name.rsplit(".", 1)
    renamed.__qualname__ = renamed.__name__
    return renamed


CHECKPOINT_TYPES: tuple[Callable, ...] = (
    HistoryBuffer,
    np.ndarray,
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.int64)),
    _renamed("builtins.getattr", history_statistic),
    # numpy 2 renamed the module of these two; files written by either numpy load.
    *(
        _renamed(f"{module}.multiarray.{name}", value.__reduce__()[0])
        for module in ("numpy._core", "numpy.core")
        for name, value in (("_reconstruct", np.empty(0)), ("scalar", np.float64(0)))
    ),
)
"""What an mmengine checkpoint holds beside tensors and plain containers.

The log history, the arrays of float64 and int64 numbers in it, the numpy number that
``save_best`` may store, and `history_statistic` in the place of ``getattr``.
"""


def allow_checkpoint_types() -> None:
    """Allow `CHECKPOINT_TYPES` for ``torch.load``; safe loading stays on."""
    # Before 2.4 torch has no such list.
    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals(list(CHECKPOINT_TYPES))


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a checkpoint onto the processor, by safe loading whatever torch's default.

    Before 2.4 torch cannot load mmengine's log history safely. There files are loaded
    as mmengine loads them, and a warning says so.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no checkpoint, damaged, or holds what safe loading refuses.
    """
    allow_checkpoint_types()
    safe = hasattr(torch.serialization, "add_safe_globals")
    if not safe:
        warnings.warn(
            "torch before 2.4 cannot load checkpoints of mmengine safely: open only "
            "files that you trust",
            stacklevel=2,
        )
    with Path(path).expanduser().open("rb") as file:
        try:
            _refuse_torchscript(file)
            return torch.load(file, map_location="cpu", weights_only=safe)
        except Exception as error:  # damaged files fail in many ways
            what = f"not a checkpoint, or damaged ({type(error).__name__})"
            unsafe = r"GLOBAL (\S+)|asks for attribute|TorchScript"
            if found := re.search(unsafe, str(error)):
                imported = found[1] or "code"
                what = f"for safety, files that import {imported} are refused"
            raise ValueError(f"{path} cannot be loaded: {what}") from error


def state_dict_of(content: Any, source: str) -> dict[str, Tensor]:
    """Return the weights in a checkpoint, without a wrapper's ``module.``.

    Args:
        content: what `read_checkpoint` returned: a state dict, or what holds one.
        source: what the message calls it.

    Raises:
        ValueError: it holds no weights.
    """
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not (
        isinstance(state, Mapping)
        and state
        and all(isinstance(name, str) for name in state)
        and all(isinstance(tensor, Tensor) for tensor in state.values())
    ):
        raise ValueError(f"{source} holds no state dict")
    wrapped = all(name.startswith("module.") for name in state)
    return {name[7 * wrapped :]: tensor for name, tensor in state.items()}


def last_checkpoint(work_dir: Path) -> Path | None:
    """Return the last whole checkpoint of a training, None if there is none.

    It is the one that mmengine's file ``last_checkpoint`` names; the folder may have
    been moved. mmengine writes into that file itself, and with ``max_keep_ckpts``
    removes an older checkpoint before: after a crash the one named may be cut off or
    gone. Then it is the whole one of the most iterations or epochs.
    """
    record = work_dir / "last_checkpoint"
    if not record.is_file():
        return None
    # What a power failure leaves of a file may be zeros.
    named = Path(record.read_text(errors="replace").replace("\0", "").strip())
    # torch writes an archive's list of contents last.
    for path in (work_dir / named.name, named):
        if zipfile.is_zipfile(path):
            return path
    whole = [path for path in checkpoints_of(work_dir) if zipfile.is_zipfile(path)]
    then = f"{whole[-1].name} is taken" if whole else "there is no other"
    warnings.warn(
        f"{work_dir}: the last checkpoint is damaged or gone; {then}", stacklevel=2
    )
    return whole[-1] if whole else None


def checkpoints_of(work_dir: Path) -> list[Path]:
    """Return the numbered checkpoints of a training, in the order of their numbers."""
    numbered = [
        (int(match[1]), path)
        for path in work_dir.glob("*.pth")
        if (match := re.fullmatch(r"(?:epoch|iter)_(\d+)", path.stem))
    ]
    return [path for _, path in sorted(numbered)]


def write_checkpoint(
    content: Mapping[str, Any], path: Path, overwrite: bool = False
) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        FileExistsError: there is such a file, and ``overwrite`` is not set.
        OSError: it cannot be written.
    """
    try:
        with atomic_write(path, overwrite) as file:
            torch.save(content, file)
    except RuntimeError as error:  # what torch makes of a full disk
        reason = error.__context__ if isinstance(error.__context__, OSError) else error
        raise OSError(f"{path} cannot be written: {reason}") from error


def _refuse_torchscript(file: IO[bytes]) -> None:
    """Refuse archives of which torch runs parts, whatever unpickles the rest."""
    # With torch's own reader, so that both see the same archive.
    if torch.serialization._is_zipfile(file):
        with torch.serialization._open_zipfile_reader(file) as archive:
            if torch.serialization._is_torchscript_zip(archive):
                raise pickle.UnpicklingError("TorchScript archive")
    file.seek(0)
