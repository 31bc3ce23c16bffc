"""Reading, checking and writing COCO detection files."""

from __future__ import annotations

import errno
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from mmengine.fileio import get_local_path

from fpn_necks.io import check_image_name, write_bytes

IGNORED_FIELDS = ("ignore", "uncertain", "logo")
# Boxes become float32; NaN is not below it.
_LARGEST = float(np.finfo(np.float32).max) / 4
MAX_SIDE = 1_000_000
"""Pixels; an image said to be larger has a wrong size, and would give no end of tiles.
"""


def read_coco(
    path: str | os.PathLike[str], backend_args: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Reads a COCO detection file and checks what everything else relies on.

    Args:
        path: Path, or address that mmengine's file backends know.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON, or not as COCO's format wants it, see `check_coco`.
    """
    name = os.fspath(path)
    try:
        with (
            get_local_path(name, backend_args=backend_args) as local,
            open(local, encoding="utf-8") as file,
        ):
            coco = json.load(file)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            errno.ENOENT, "There is no such annotation file", name
        ) from error
    except (RecursionError, ValueError) as error:  # also text that is no UTF-8
        raise ValueError(f"{name} is no JSON file: {error}") from error
    return check_coco(coco, name)


def check_coco(coco: Any, name: str) -> dict[str, Any]:
    """Checks lists, ids, image files and boxes; without a list of boxes there are none.

    File names must stay below the folder of the images, see `check_image_name`.

    Args:
        coco: The parsed content.
        name: What to call it in messages.

    Returns:
        `coco` itself.

    Raises:
        ValueError: With the name, the entry and what was expected.
    """
    if not isinstance(coco, dict):
        raise ValueError(f"{name} is no COCO detection file: expected a dict")
    coco.setdefault("annotations", [])
    for key in ("images", "annotations", "categories"):
        if not isinstance(coco.get(key), list):
            raise ValueError(f"{name} is no COCO detection file: no list {key!r}")
    image_ids = _unique_ids(coco["images"], f"{name}: image")
    _unique_ids(coco["annotations"], f"{name}: annotation")
    _unique_ids(coco["categories"], f"{name}: category")
    for image in coco["images"]:
        sides = (image.get("width"), image.get("height"))
        if not all(_is_side(side) for side in sides):
            raise ValueError(
                f"{name}: image {image['id']} has width and height "
                f"{str(sides)[:80]}, expected whole numbers from 1 to {MAX_SIDE}"
            )
        if not isinstance(image.get("file_name"), str):
            raise ValueError(f"{name}: image {image['id']} has no 'file_name'")
        try:
            check_image_name(image["file_name"])
        except ValueError as error:
            raise ValueError(f"{name}: image {image['id']}: {error}") from error
    for annotation in coco["annotations"]:
        if not _is_one_of(annotation.get("image_id"), image_ids):
            raise ValueError(
                f"{name}: annotation {annotation['id']} belongs to image "
                f"{annotation.get('image_id')!r}, which is not there"
            )
        if "category_id" not in annotation:
            raise ValueError(
                f"{name}: annotation {annotation['id']} has no 'category_id'"
            )
        if not isinstance(annotation["category_id"], int | float | str):
            raise ValueError(
                f"{name}: annotation {annotation['id']} has the category "
                f"{annotation['category_id']!r}, expected a number or a string"
            )
        if not _is_box(annotation.get("bbox")):
            raise ValueError(
                f"{name}: annotation {annotation['id']} has the box "
                f"{annotation.get('bbox')!r}, expected [x, y, width, height] of finite "
                "numbers"
            )
    return coco


def _unique_ids(entries: Iterable[Any], label: str) -> set[Any]:
    found = set()
    for entry in entries:
        if not isinstance(entry, dict) or "id" not in entry:
            raise ValueError(f"{label} without 'id': {str(entry)[:80]}")
        if not isinstance(entry["id"], int | float | str):
            raise ValueError(
                f"{label} id {entry['id']!r} is neither a number nor a string"
            )
        if entry["id"] in found:
            raise ValueError(f"{label} id {entry['id']!r} occurs more than once")
        found.add(entry["id"])
    return found


def _is_one_of(value: Any, ids: set[Any]) -> bool:
    # A list or a dict would have no hash.
    return isinstance(value, int | float | str) and value in ids


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_side(value: Any) -> bool:
    return _is_number(value, int) and 0 < value <= MAX_SIDE


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, (list, tuple))
        and len(box) == 4
        and all(_is_number(v, int | float) and abs(v) <= _LARGEST for v in box)
    )


def annotations_by_image(coco: Mapping[str, Any]) -> dict[Any, list[dict[str, Any]]]:
    """Returns the annotations of each image id, in file order; none give no entry."""
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in coco["annotations"]:
        groups[annotation["image_id"]].append(annotation)
    return groups


def is_ignored(
    annotation: Mapping[str, Any], fields: Iterable[str] = IGNORED_FIELDS
) -> bool:
    """Returns whether a box is a crowd or has one of the `fields` set."""
    return bool(annotation.get("iscrowd")) or any(
        annotation.get(field) for field in fields
    )


def dense_files(coco: Mapping[str, Any]) -> set[str]:
    """Returns the files of dense images: a mark on the image or on one of its boxes.

    By file and not by image, since a tile of a dense image may hold no box.
    """
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    dense = {i["file_name"] for i in coco["images"] if i.get("in_dense_image")}
    return dense | {
        files[annotation["image_id"]]
        for annotation in coco["annotations"]
        if annotation.get("in_dense_image")
    }


def write_coco(
    path: str | os.PathLike[str], coco: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Writes a COCO file, completely or not at all; makes its folder.

    Raises:
        FileExistsError: The file is there and `overwrite` is false.
    """
    write_bytes(path, json.dumps(coco).encode(), overwrite)
