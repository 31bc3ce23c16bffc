"""Writing files whole or not at all.

A file is written under another name in the same folder, flushed to the disk and then
renamed. Whoever looks sees the old file, or none, until the new one is complete: a full
disk, Ctrl-C or a crash leaves the old one as it was. The flush (fsync, 6 ms per file on
a shared ext4 disk) is there because tools that go on after an interruption take a file
that is there for done; without it a power failure may leave the name and no content.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDING = ".part"
"""Of files that are being written; a killed process may leave one behind."""

_NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # of some network file systems


@contextlib.contextmanager
def whole_file(
    path: str | os.PathLike[str], overwrite: bool = True
) -> Iterator[IO[bytes]]:
    """Open a file to write; it gets its name when the block ends without an error.

    The folder is made. A file that is replaced hands on its permissions; a link is
    replaced itself, what it leads to is not touched.

    Args:
        path: file to write.
        overwrite: whether a file of that name may be replaced.

    Raises:
        FileExistsError: there is such a file, and `overwrite` is not set.
        OSError: it cannot be written, is a folder or a device, or is write-protected;
            the error names `path`.

    Example:
        >>> with whole_file("numbers.bin") as file:  # doctest: +SKIP
        ...     file.write(bytes(8))
    """
    target = Path(path)
    _check_target(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Names may have 255 bytes; a few letters tell whose it is.
    mark = target.name.encode()[:100].decode(errors="ignore")
    unfinished = target.with_name(f".{mark}.{secrets.token_hex(4)}{ENDING}")
    try:
        try:
            with _create(unfinished) as file:
                yield file
                file.flush()
                _to_disk(file)
            if target.is_file() and not target.is_symlink():
                shutil.copymode(target, unfinished)
            _check_target(target, overwrite)
            os.replace(unfinished, target)
        except OSError as error:
            if error.filename not in (None, str(unfinished)):
                raise  # about another file, that the block reads
            if str(target) in str(error):
                raise
            if error.errno is None:
                raise OSError(f"{target} cannot be written: {error}") from error
            raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        # After the renaming there is nothing left of that name.
        with contextlib.suppress(OSError):
            unfinished.unlink()


def write_bytes(
    path: str | os.PathLike[str], content: bytes, overwrite: bool = True
) -> None:
    """Write bytes as a whole file; see `whole_file`."""
    with whole_file(path, overwrite) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str, overwrite: bool = True) -> None:
    """Write text in UTF-8 as a whole file; see `whole_file`."""
    write_bytes(path, text.encode(), overwrite)


def write_json(
    path: str | os.PathLike[str],
    content: Any,
    indent: int | None = None,
    overwrite: bool = True,
) -> None:
    """Write JSON with a line break at its end as a whole file; see `whole_file`."""
    write_text(path, json.dumps(content, indent=indent) + "\n", overwrite)


def save_figure(
    figure: Figure,
    path: str | os.PathLike[str],
    overwrite: bool = True,
    **options: Any,
) -> None:
    """Write a picture of matplotlib's as a whole file; see `whole_file`.

    Args:
        figure: what to draw.
        path: file to write; its ending decides the format, without one it is PNG.
        overwrite: whether a file of that name may be replaced.
        **options: of ``Figure.savefig``.

    Raises:
        ValueError: the format is unknown.
    """
    ending = Path(path).suffix.removeprefix(".").lower()
    options.setdefault("format", ending or "png")
    with whole_file(path, overwrite) as file:
        figure.savefig(file, **options)


def is_same_file(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    """Tell whether two paths are of one file, by whatever links and spelling."""
    one, other = Path(first), Path(second)
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def require_empty(folder: str | os.PathLike[str], unless: str) -> None:
    """Refuse a folder that holds anything; one that is not there is empty.

    Args:
        folder: to be written to.
        unless: the option that allows it and what it does, for the message.

    Raises:
        FileExistsError: it holds files.
        NotADirectoryError: it is a file.
    """
    path = Path(folder)
    if not path.exists():
        return
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is a file, not a folder")
    if any(path.iterdir()):
        raise FileExistsError(f"{path} holds files; give a new folder, or {unless}")


def _check_target(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if target.exists() and not target.is_file():
        # Renaming would put a file in the place of /dev/null.
        kind = "folder" if target.is_dir() else "device"
        raise OSError(f"{target} is a {kind}, not a file")
    if not overwrite:
        raise FileExistsError(f"{target} exists; it is not overwritten")
    if target.is_file() and not os.access(target, os.W_OK):
        # Renaming needs the right to write the folder alone.
        raise PermissionError(errno.EACCES, "The file is write-protected", str(target))


def _create(path: Path) -> IO[bytes]:
    return path.open("xb")


def _to_disk(file: IO[bytes]) -> None:
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
