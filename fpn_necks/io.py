"""Files that are written whole or not at all, and file names that others chose."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


@contextlib.contextmanager
def atomic_write(
    path: str | os.PathLike[str], overwrite: bool = True
) -> Iterator[IO[bytes]]:
    """Open a file to write; it gets its name when the block ends without an error.

    Until then there is the old file, or none. The folder is made. A file that is
    replaced hands on its permissions; a link is replaced itself, what it leads to is
    not touched.

    Raises:
        FileExistsError: there is such a file, and `overwrite` is not set.
        OSError: it cannot be written, or is no file; the error names `path`.
    """
    target = Path(path)
    _check_target(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            yield file
        if target.is_file() and not target.is_symlink():
            shutil.copymode(target, part)
        _check_target(target, overwrite)
        os.replace(part, target)
    except OSError as error:
        # Others are about another file, that the block reads, or name this one.
        if error.errno is None or error.filename not in (None, str(part)):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        part.unlink(missing_ok=True)


def _check_target(target: Path, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(f"{target} exists; it is not overwritten")
    if target.exists() and not target.is_file():
        raise OSError(f"{target} is a folder or a device, not a file")


def write_bytes(
    path: str | os.PathLike[str], content: bytes, overwrite: bool = True
) -> None:
    """Write bytes; see `atomic_write`."""
    with atomic_write(path, overwrite) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str, overwrite: bool = True) -> None:
    """Write text in UTF-8; see `atomic_write`."""
    write_bytes(path, text.encode(), overwrite)


def write_image(path: Path, image: np.ndarray, jpeg_quality: int = 95) -> None:
    """Write a picture (OpenCV's BGR) in the format of its suffix; see `atomic_write`.

    Raises:
        OSError: the format cannot hold it.
    """
    import cv2

    options = []
    if path.suffix.lower() in (".jpg", ".jpeg"):
        options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    encoded, content = cv2.imencode(path.suffix, image, options)
    if not encoded:
        raise OSError(f"{path}: {path.suffix} cannot hold {image.shape[:2]} pixels")
    write_bytes(path, content.tobytes())


def write_json(
    path: str | os.PathLike[str],
    content: Any,
    indent: int | None = None,
    overwrite: bool = True,
) -> None:
    """Write JSON with a line break at its end; see `atomic_write`."""
    write_text(path, json.dumps(content, indent=indent) + "\n", overwrite)


def save_figure(figure: Figure, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a picture of matplotlib's; see `atomic_write` and ``Figure.savefig``.

    The ending of the path decides the format; without one it is PNG.

    Raises:
        ValueError: the format is unknown.
    """
    options.setdefault("format", Path(path).suffix[1:].lower() or "png")
    with atomic_write(path) as file:
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
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file, not a folder")
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"{path} holds files; give a new folder, or {unless}")


def check_image_name(name: object) -> str:
    """Return a file name of an annotation file that stays below any folder.

    Looks at the name alone, not at the disk. Backslashes separate folders here, because
    on Windows they do.

    Raises:
        ValueError: `name` is no text or empty, has ``..``, a drive, an address
            (``://``), a slash at its beginning or end, or a character that no file name
            has.
    """
    text = name if isinstance(name, str) else ""
    parts = re.split(r"[/\\]", text)
    outside = ".." in parts or parts[0] == "" or PureWindowsPath(text).drive
    # Null, and surrogates that stand for no byte, are in no file's name.
    wrong = re.search("[\0\ud800-\udc7f\udd00-\udfff]|://", text)
    if outside or wrong or parts[-1] in ("", "."):
        raise ValueError(
            f"the file name {str(name)[:200]!r} leads out of the folder of the "
            "images, or is none: it must be a path below that folder, without '..'"
        )
    return text


def image_path_without_leaving(root: str | os.PathLike[str], name: object) -> Path:
    """Return the path of an image whose content is copied, or that is written.

    Elsewhere links in the folder are the user's, and followed.

    Args:
        root: folder; it may itself be a link.
        name: below `root`; neither the file nor a folder on the way may be a link that
            leads out of it.

    Raises:
        ValueError: see `check_image_name`; or a link leads out of `root`.
    """
    path = Path(root) / check_image_name(name)
    if not path.resolve().is_relative_to(Path(root).resolve()):
        raise ValueError(
            f"the file name {name!r} leads out of the folder {root}, by a link"
        )
    return path
