"""Erases what is ignored from training images, as the TinyPerson benchmark does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fpn_necks.coco_files import IGNORED_FIELDS, annotations_by_image

from .image_sets import write_changed_images


def erase_regions(image: np.ndarray, boxes: Iterable[Sequence[float]]) -> np.ndarray:
    """Fills regions with their mean colour, per channel.

    A region takes in every pixel that its box touches. Where regions overlap, each mean
    is of the original pixels and the later box wins.

    Args:
        image: (height, width) or (height, width, channels) of any type; not changed.
        boxes: (x, y, width, height) in pixels; parts outside the image are ignored.

    Returns:
        The erased copy.
    """
    erased = image.copy()
    height, width = image.shape[:2]
    for x, y, box_width, box_height in boxes:
        left, top = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
        right = min(width, int(np.ceil(x + box_width)))
        bottom = min(height, int(np.ceil(y + box_height)))
        if left < right and top < bottom:
            mean = image[top:bottom, left:right].mean((0, 1))
            is_whole = np.issubdtype(image.dtype, np.integer)
            erased[top:bottom, left:right] = np.rint(mean) if is_whole else mean
    return erased


def erase_images(
    coco: Mapping[str, Any],
    image_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    jpeg_quality: int = 95,
    progress: bool = False,
) -> tuple[dict[str, Any], int, int]:
    """Writes a set's images with the ignored regions erased into a new folder.

    Images without such regions are copied as they are. The release says what is erased
    but not how it rounds and compresses: its own erased images differ in detail.

    Args:
        coco: A dict that `check_coco` has seen, of whole images.
        image_dir: Folder of the originals.
        out_dir: Folder of the copies; files that are there are kept.
        jpeg_quality: 1 to 100, of the changed images.
        progress: Whether to show a progress bar.

    Returns:
        The annotations without the erased boxes, the number of images written and the
        number of those that were there.

    Raises:
        ValueError: `coco` holds tiles, or see `write_changed_images`.
        FileNotFoundError: An image is missing.
    """
    if any("corner" in image for image in coco["images"]):
        raise ValueError("the annotations are of tiles; regions need whole images")
    groups = annotations_by_image(coco)
    regions = {
        image["file_name"]: [
            annotation["bbox"]
            for annotation in groups.get(image["id"], [])
            if _is_marked(annotation)
        ]
        for image in coco["images"]
    }
    written, present = write_changed_images(
        regions,
        image_dir,
        out_dir,
        lambda name, i: erase_regions(i, regions[name]) if regions[name] else None,
        settings={"erased": sorted(regions.items())},
        jpeg_quality=jpeg_quality,
        progress=progress,
        label="erasing",
    )
    kept = [a for a in coco["annotations"] if not _is_marked(a)]
    return dict(coco) | {"annotations": kept}, written, present


def _is_marked(annotation: Mapping[str, Any]) -> bool:
    # Crowds alone are not erased: the benchmark marks its regions by the fields.
    return any(annotation.get(field) for field in IGNORED_FIELDS)
