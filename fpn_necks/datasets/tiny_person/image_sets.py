"""Writes changed copies of a set's images, never over the originals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from fpn_necks.io import image_path_without_leaving, write_bytes


def write_changed_images(
    file_names: Iterable[str],
    image_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    change: Callable[[str, np.ndarray], np.ndarray] | None,
    *,
    unchanged: Callable[[str], bool] = lambda name: False,
    jpeg_quality: int = 95,
    progress: bool = False,
    label: str = "writing",
) -> tuple[int, int]:
    """Writes a changed copy of every image under its own name in another folder.

    Files that are there are left alone, so that an interrupted run can be resumed;
    each file is written completely or not at all.

    Args:
        file_names: Names relative to `image_dir`, and to `out_dir`.
        image_dir: Folder of the originals.
        out_dir: Folder of the copies; made if missing.
        change: Takes name and BGR image, returns the new image.
        unchanged: Says of which names the file is copied as it is.
        jpeg_quality: 1 to 100.
        progress: Whether to show a progress bar.
        label: What the progress bar says.

    Returns:
        How many files were written and how many were there already.

    Raises:
        ValueError: A copy would lie over an original, or a name or a link leaves the
            folders.
        FileNotFoundError: An original is missing.
        OSError: An original cannot be decoded.
    """
    if not 1 <= jpeg_quality <= 100:
        raise ValueError(f"jpeg_quality must lie in [1, 100], got {jpeg_quality}")
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
    written = 0
    triples = zip(names, originals, copies, strict=True)
    for name, original, copy in tqdm(
        triples, total=len(names), desc=label, unit="image", disable=not progress
    ):
        if copy.exists():
            continue
        content = original.read_bytes()
        if not unchanged(name):
            content = _encode(
                change(name, _decode(content, original)), copy, jpeg_quality
            )
        write_bytes(copy, content)
        written += 1
    return written, len(names) - written


def _decode(content: bytes, path: Path) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise OSError(f"{path} cannot be decoded")
    return image


def _encode(image: np.ndarray, path: Path, jpeg_quality: int) -> bytes:
    options = []
    if path.suffix.lower() in (".jpg", ".jpeg"):
        options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    encoded, content = cv2.imencode(path.suffix, image, options)
    if not encoded:
        raise OSError(f"OpenCV cannot encode {path}")
    return content.tobytes()
