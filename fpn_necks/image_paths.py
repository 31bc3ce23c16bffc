"""Names of image files, as annotation files of strangers give them.

An annotation file must not choose which files are read or written: its names stay below
the folder that the user gives for the images.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath


def check_image_name(name: object) -> str:
    """Return a file name that stays below any folder, on every system.

    Looks at the name alone, not at the disk, so that it is the same for folders that
    are far away. Backslashes separate folders here, because on Windows they do.

    Raises:
        ValueError: `name` is no text or empty, has ``..``, a drive, an address
            (``://``), a slash at its beginning or end, or a character that no file name
            has.
    """
    if not isinstance(name, str):
        raise ValueError(f"the file name {str(name)[:80]!r} is no text")
    parts = re.split(r"[/\\]", name)
    if (
        ".." in parts
        or parts[0] == ""
        or parts[-1] in ("", ".")
        or PureWindowsPath(name).drive
        or "://" in name
    ):
        raise ValueError(
            f"the file name {name[:200]!r} leads out of the folder of the "
            "images, or is none: it must be a path below that folder, without '..'"
        )
    try:
        valid = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        valid = False
    if not valid:
        raise ValueError(
            f"the file name {name[:200]!r} has characters that no file has"
        )
    return name


def image_path(root: str | os.PathLike[str], name: object) -> Path:
    """Return the path of an image; links in the folder are the user's: followed.

    Raises:
        ValueError: see `check_image_name`.
    """
    return Path(root) / check_image_name(name)


def image_path_without_leaving(root: str | os.PathLike[str], name: object) -> Path:
    """Return the path of an image whose content is copied, or that is written.

    Args:
        root: folder; it may itself be a link.
        name: below `root`; neither the file nor a folder on the way may be a link that
            leads out of it.

    Raises:
        ValueError: see `check_image_name`; or a link leads out of `root`.
    """
    path = image_path(root, name)
    if not path.resolve().is_relative_to(Path(root).resolve()):
        raise ValueError(
            f"the file name {name!r} leads out of the folder {root}, by a link"
        )
    return path
