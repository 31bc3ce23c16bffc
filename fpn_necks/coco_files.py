"""Reading, checking and writing COCO detection files: the one reader of the package."""

from __future__ import annotations

import contextlib
import gc
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine import fileio

from fpn_necks.io import check_image_name, write_json

IGNORED_FIELDS = ("ignore", "uncertain", "logo")
MERGED_CLASS = "person"
PARTS_OF_MERGED_CLASS = ("sea_person", "earth_person")
# Boxes become float32; NaN is not below it.
LARGEST = float(np.finfo(np.float32).max) / 4
MAX_SIDE = 1_000_000
"""Pixels; an image said to be larger has a wrong size, and would give no end of tiles.
"""


def read_json(
    path: str | os.PathLike[str], backend_args: Mapping[str, Any] | None = None
) -> Any:
    """Reads a JSON file, with or without a byte-order mark.

    Args:
        path: Path (``~`` is expanded), or address that mmengine's file backends know.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON.
    """
    name = os.path.expanduser(os.fspath(path))
    content = fileio.get(name, backend_args=backend_args)
    try:
        with without_garbage_collection():
            return json.loads(content)
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{name} is no JSON file: {error}") from error


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Spares the search for cycles among new dicts: half of a parser's time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def read_coco(
    path: str | os.PathLike[str],
    backend_args: Mapping[str, Any] | None = None,
    *,
    sized: bool = True,
) -> dict[str, Any]:
    """Reads a COCO detection file and checks it, see `read_json` and `check_coco`."""
    return check_coco(read_json(path, backend_args), os.fspath(path), sized=sized)


def check_coco(coco: Any, name: str, *, sized: bool = True) -> dict[str, Any]:
    """Checks lists, ids, images and boxes; without a list of boxes there are none.

    File names must stay below the folder of the images, see `check_image_name`. A tile
    (an image with ``corner``) must have [x1, y1, x2, y2] in whole pixels.

    Args:
        coco: The parsed content; it is not changed.
        name: What to call it in messages.
        sized: Whether images need ``width``, ``height`` and ``file_name``, and the file
            its ``categories``; evaluation reads none of them.

    Returns:
        The content; whole numbers written as floats (640.0) in sizes and corners are
        int.

    Raises:
        ValueError: With the name, the entry and what was expected.
    """
    if not isinstance(coco, dict):
        kind = type(coco).__name__
        raise ValueError(
            f"{name} is no COCO detection file: expected a dict, got a {kind}"
        )
    coco = {"annotations": [], **coco}
    for key in ("images", "annotations", "categories"):
        if key == "categories" and not sized and key not in coco:
            continue
        if not isinstance(coco.get(key), list):
            raise ValueError(f"{name} is no COCO detection file: no list {key!r}")
    image_ids = _unique_ids(coco["images"], f"{name}: image")
    _unique_ids(coco["annotations"], f"{name}: annotation")
    _unique_ids(coco.get("categories", []), f"{name}: category")
    for annotation in coco["annotations"]:
        if fault := _fault_of_annotation(annotation, image_ids):
            raise ValueError(f"{name}: annotation {annotation['id']} {fault}")
    images = [
        _checked_image(image, f"{name}: image {image['id']}", sized)
        for image in coco["images"]
    ]
    return coco | {"images": images}


def checked_coco(source: Any, name: str) -> dict[str, Any]:
    """Returns annotations to evaluate on, of a file or from Python; no sizes needed."""
    if isinstance(source, str | os.PathLike):
        return read_coco(source, sized=False)
    return check_coco(source, name, sized=False)


def _unique_ids(entries: Iterable[Any], label: str) -> set[Any]:
    found = set()
    for entry in entries:
        if not isinstance(entry, dict) or "id" not in entry:
            raise ValueError(f"{label} without 'id': {str(entry)[:80]}")
        identifier = entry["id"]
        if not isinstance(identifier, int | float | str):
            raise ValueError(
                f"{label} id {identifier!r} is neither a number nor a string"
            )
        if identifier in found:
            raise ValueError(f"{label} id {identifier!r} occurs more than once")
        found.add(identifier)
    return found


def _checked_image(image: dict[str, Any], label: str, sized: bool) -> dict[str, Any]:
    image = dict(image)
    for key in ("width", "height"):
        side = image.get(key)
        if side is None and not sized:
            continue
        if not _is_whole(side) or not 0 < side <= MAX_SIDE:
            sides = str((image.get("width"), image.get("height")))[:80]
            raise ValueError(
                f"{label} has width and height {sides}, expected whole numbers from 1 "
                f"to {MAX_SIDE}"
            )
        image[key] = int(side)
    if sized or "file_name" in image:
        try:
            check_image_name(image.get("file_name"))
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from error
    if "corner" in image and not _is_corner(image["corner"], image):
        raise ValueError(
            f"{label} of {image.get('width')}x{image.get('height')} has the corner "
            f"{str(image['corner'])[:80]}, expected whole numbers [x1, y1, x2, y2] of "
            "that extent"
        )
    if "corner" in image:
        image["corner"] = [int(x) for x in image["corner"]]
    return image


def _is_corner(corner: Any, image: Mapping[str, Any]) -> bool:
    if not isinstance(corner, Sequence) or len(corner) != 4:
        return False
    if not all(map(_is_whole, corner)):
        return False
    x1, y1, x2, y2 = corner
    extent = x2 - x1, y2 - y1
    size = image.get("width", extent[0]), image.get("height", extent[1])
    return min(x1, y1) >= 0 and min(extent) > 0 and extent == size


def _fault_of_annotation(
    annotation: Mapping[str, Any], image_ids: set[Any]
) -> str | None:
    image = annotation.get("image_id")
    # A list or a dict would have no hash.
    if not isinstance(image, int | float | str) or image not in image_ids:
        return f"belongs to image {image!r}, which is not there"
    category = annotation.get("category_id")
    if not isinstance(category, int | float | str):
        return f"has the category {category!r}, expected a number or a string"
    box = annotation.get("bbox")
    if (
        isinstance(box, list | tuple)
        and len(box) == 4
        and all(_is_number(v) and abs(v) <= LARGEST for v in box)
    ):
        return None
    return f"has the box {box!r}, expected [x, y, width, height] of finite numbers"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def category_labels(
    categories: Iterable[Mapping[str, Any]], classes: Sequence[str]
) -> dict[Any, int]:
    """Returns the label of each category id that is among the classes of a set.

    TinyPerson's sea_person and earth_person count as ``person`` if that is a class and
    they are not.
    """
    labels = {}
    for category in categories:
        name = category.get("name")
        if name not in classes and name in PARTS_OF_MERGED_CLASS:
            name = MERGED_CLASS
        if name in classes:
            labels[category["id"]] = list(classes).index(name)
    return labels


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
    return any(annotation.get(field) for field in ("iscrowd", *fields))


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
    write_json(path, coco, overwrite=overwrite)
