"""Writes changed copies of a set's images, never over the originals."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from fpn_necks.io import image_path_without_leaving, write_bytes, write_image
from fpn_necks.layers.arguments import check_int

RECORD = ".settings.sha256"
"""File beside the copies that tells with which settings they were made."""


def write_changed_images(
    file_names: Iterable[str],
    image_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    change: Callable[[str, np.ndarray], np.ndarray | None],
    *,
    settings: Mapping[str, Any] | None = None,
    jpeg_quality: int = 95,
    progress: bool = False,
    label: str = "writing",
) -> tuple[int, int]:
    """Writes a changed copy of every image under its own name in another folder.

    Files that are there are left alone, so that an interrupted run can be resumed with
    the same settings: `RECORD` in the folder of the copies keeps a digest of them. Each
    file is written completely or not at all, with the type and the channels of the
    original (16-bit, gray, alpha).

    Args:
        file_names: Names relative to `image_dir`, and to `out_dir`.
        image_dir: Folder of the originals.
        out_dir: Folder of the copies; made if missing.
        change: Takes name and image (gray, BGR or BGRA), returns the new image, or None
            for a copy of the file.
        settings: What the copies depend on; what ``json`` can write.
        jpeg_quality: 1 to 100.
        progress: Whether to show a progress bar.
        label: What the progress bar says.

    Returns:
        How many files were written and how many were there already.

    Raises:
        ValueError: A copy would lie over an original, a name or a link leaves the
            folders, or the folder holds copies made with other settings.
        FileNotFoundError: An original is missing.
        OSError: An original cannot be decoded.
    """
    check_int("jpeg_quality", jpeg_quality, 1, 100)
    source, target = Path(image_dir).resolve(), Path(out_dir).resolve()
    if source == target:
        raise ValueError(
            f"out_dir must not be the folder of the originals, got {out_dir}"
        )
    names = list(dict.fromkeys(file_names))
    # A link to a file elsewhere must not get that file into a set that is passed on.
    originals = [image_path_without_leaving(source, name) for name in names]
    copies = [image_path_without_leaving(target, name) for name in names]
    # Where one folder is inside the other, a copy may have the place of an original.
    for covered in set(map(Path.resolve, originals)) & set(map(Path.resolve, copies)):
        raise ValueError(f"a copy in out_dir {out_dir} would be the original {covered}")
    _check_settings(target / RECORD, copies, [settings, jpeg_quality, str(source)])
    written = 0
    triples = list(zip(names, originals, copies, strict=True))
    for name, original, copy in tqdm(
        triples, label, unit="image", disable=not progress
    ):
        if copy.exists():
            continue
        content = original.read_bytes()
        changed = change(name, _decode(content, original))
        if changed is None:
            write_bytes(copy, content)
        else:
            write_image(copy, changed, jpeg_quality)
        written += 1
    return written, len(names) - written


def _check_settings(record: Path, copies: Iterable[Path], settings: Any) -> None:
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    if record.is_file():
        if record.read_text().strip() != digest:
            raise ValueError(
                f"{record.parent} holds images made with other settings or of other "
                "annotations, which must not be mixed: give a new folder"
            )
    elif any(map(Path.exists, copies)):
        raise ValueError(
            f"{record.parent} holds images of which nothing tells how they were made "
            f"(no {RECORD}): give a new folder"
        )
    else:
        write_bytes(record, digest.encode())


def _decode(content: bytes, path: Path) -> np.ndarray:
    data = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is not None and image.shape[2:] != (4,):
        # Turned as its EXIF data say, as mmcv loads it.
        image = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if image is None:
        raise OSError(f"{path} cannot be decoded")
    return image
