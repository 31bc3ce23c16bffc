"""Safe loading for torch before 2.4, in the place of the module ``pickle``.

``torch.load(weights_only=True)`` of those versions knows no list of further types: it
refuses every checkpoint of mmengine, for the log history in it, and without it
everything is unpickled. This module is given as ``pickle_module``: of a file it looks
up what safe loading allows and nothing else.
"""

from __future__ import annotations

import codecs
import pickle
from collections import Counter, OrderedDict
from typing import IO, Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import _weights_only_unpickler

# What may be given a state of a file's choice: of a class or a function it would
# change the program.
_WITH_STATE = (HistoryBuffer, OrderedDict, torch.Tensor, np.ndarray, np.dtype)


# In Python, since what the one in C does on BUILD cannot be changed.
class Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """Unpickles tensors, plain containers and ``checkpoint_types``."""

    dispatch = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined] # noqa: RUF012

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Look up what is allowed.

        Raises:
            pickle.UnpicklingError: it is not.
        """
        # torch writes the names that Python 2 had.
        module = {"__builtin__": "builtins"}.get(module_name, module_name)
        name = f"{module}.{global_name}"
        allowed = _allowed()
        if name not in allowed:
            raise pickle.UnpicklingError(f"Unsupported class {name}")
        return allowed[name]

    def get_extension(self, code: int) -> Any:
        """Refuse numbers in the place of names: torch writes none."""
        raise pickle.UnpicklingError(f"Unsupported class of the extension {code}")

    def load_build(self) -> None:
        """Set the state of an object, unless it is a class or a function."""
        # Below the state stands the object that gets it.
        if not isinstance(self.stack[-2], _WITH_STATE):  # type: ignore[attr-defined]
            kind = type(self.stack[-2]).__name__  # type: ignore[attr-defined]
            raise pickle.UnpicklingError(f"Unsupported class {kind}, given a state")
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build


def load(file: IO[bytes], **options: Any) -> Any:
    """Unpickle one object; as ``pickle.load``."""
    return Unpickler(file, **options).load()


def _allowed() -> dict[str, Any]:
    from .checkpoints import checkpoint_types

    allowed = dict(_weights_only_unpickler._get_allowed_globals())
    allowed["_codecs.encode"] = codecs.encode  # numpy's bytes, in old protocols
    allowed["collections.Counter"] = Counter  # schedules; torch 2.1 does not know it
    for entry in checkpoint_types():
        kind, name = entry if isinstance(entry, tuple) else (entry, None)
        allowed[name or f"{kind.__module__}.{kind.__qualname__}"] = kind
    return allowed
