"""A disk that is full after so many bytes, or a user who presses Ctrl-C then."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from fpn_necks import io


class _LimitedFile:
    """A file that takes so many bytes of all and then raises."""

    def __init__(self, file: IO[bytes], limit: list[int], error: Callable) -> None:
        self._file, self._limit, self._error = file, limit, error

    def write(self, content: Any) -> int:
        size = memoryview(content).nbytes
        room = self._limit[0]
        self._file.write(memoryview(content).cast("B")[: max(0, room)])
        self._limit[0] = room - size
        if size > room:
            raise self._error()
        return size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _LimitedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def limit_writing(
    monkeypatch: pytest.MonkeyPatch,
    room: int,
    error: Callable[[], BaseException] = no_space,
) -> list[Path]:
    """Let the files of `atomic_write` take `room` bytes in all, then fail.

    Returns:
        A list that the paths of all files join that were begun.
    """
    begun: list[Path] = []
    limit = [room]

    def open_limited(path: Path, mode: str) -> Any:
        begun.append(path)
        return _LimitedFile(open(path, mode), limit, error)

    monkeypatch.setattr(io, "open", open_limited, raising=False)
    return begun


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
