"""CityPersons, downsampled to Tiny CityPersons (S-alpha paper, Table 6)."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fpn_necks.coco_files import check_coco, read_coco
from fpn_necks.layers.arguments import check_number

from .image_sets import write_changed_images
from .masks import scale_mask, with_box

# Every image of Cityscapes, which CityPersons annotates.
IMAGE_SIZE = (2048, 1024)
PEDESTRIAN = 1
# 0 no person (ignore), 1 pedestrian, 2 rider, 3 sitting, 4 unusual posture, 5 group.
LABELS = range(6)


def read_city_persons(
    path: str | os.PathLike[str], positive_labels: Collection[int] = (PEDESTRIAN,)
) -> dict[str, Any]:
    """Reads annotations of CityPersons as a COCO dict of the class ``person``.

    Args:
        path: ``anno_train.mat`` or ``anno_val.mat`` of CityPersons (needs scipy), or a
            COCO json, which is taken as it is.
        positive_labels: Labels of the mat file, 0 to 5, whose boxes are people to
            find; the boxes of all others get ``ignore``.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: scipy is not installed.
        ValueError: The file or a label is not what it should be.
    """
    unknown = set(positive_labels) - set(LABELS)
    if unknown:
        raise ValueError(
            f"positive_labels must be among {list(LABELS)}, got {sorted(unknown)}"
        )
    path = Path(path)
    if path.suffix == ".json":
        return read_coco(path)
    if path.suffix != ".mat":
        raise ValueError(f"annotations must be a .mat or .json file, got {path}")
    return _read_mat(path, positive_labels)


def _read_mat(path: Path, positive_labels: Collection[int]) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(f"reading {path} needs scipy: pip install scipy") from error
    if not path.is_file():
        raise FileNotFoundError(f"There is no such annotation file: {path}")
    try:
        # Without mat_dtype the boxes of some images are of 8 or 16 bits, and overflow.
        content = loadmat(path, mat_dtype=True)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"{path} is no mat file that scipy reads: {error}") from error
    keys = [key for key in content if key.endswith("_aligned")]
    if len(keys) != 1:
        raise ValueError(
            f"{path} must hold anno_train_aligned or anno_val_aligned, it holds "
            f"{[key for key in content if not key.startswith('__')]}"
        )
    try:
        coco = _coco_of_cells(content[keys[0]], positive_labels)
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: {keys[0]} is not as in CityPersons, cells with im_name and bbs: "
            f"{error}"
        ) from error
    return check_coco(coco, str(path))


def _coco_of_cells(
    cells: np.ndarray, positive_labels: Collection[int]
) -> dict[str, Any]:
    width, height = IMAGE_SIZE
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, cell in enumerate(cells.ravel(), 1):
        record = cell.ravel()[0]
        name = str(np.ravel(record["im_name"])[0])
        # Cityscapes' folders are the first part of its file names.
        file = f"{name.split('_')[0]}/{name}"
        images.append(dict(id=number, file_name=file, width=width, height=height))
        # Rows of label, x, y, width, height, instance and the visible part.
        for row in np.asarray(record["bbs"], dtype=np.float64).reshape(-1, 10):
            label = int(row[0])
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=1,
                    bbox=row[1:5].tolist(),
                    area=float(row[3] * row[4]),
                    iscrowd=0,
                    ignore=label not in positive_labels,
                    uncertain=False,
                    city_persons_label=label,
                )
            )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    }


def scaled_size(width: int, height: int, factor: float) -> tuple[int, int]:
    """Returns (width, height) divided by `factor`, in whole pixels, at least 1."""
    return max(1, round(width / factor)), max(1, round(height / factor))


def scale_coco(coco: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Divides the sizes of images and boxes.

    Boxes are scaled by the ratio of the whole-pixel image sizes. ``area``, ``size`` and
    ``segmentation`` follow; fields with other coordinates are left out.

    Args:
        coco: A dict that `check_coco` has seen; it is not changed.
        factor: Positive; 4 for Tiny CityPersons.

    Raises:
        ValueError: `factor` is not positive.
    """
    check_number("factor", factor, above=0)
    scalings, images = {}, []
    for image in coco["images"]:
        before = image["width"], image["height"]
        width, height = after = scaled_size(*before, factor)
        scalings[image["id"]] = width / before[0], height / before[1], after
        images.append(image | {"width": width, "height": height})
    annotations = []
    for annotation in coco["annotations"]:
        across, down, size = scalings[annotation["image_id"]]
        scale = functools.partial(scale_mask, across=across, down=down, size=size)
        x, y, width, height = annotation["bbox"]
        box = [x * across, y * down, width * across, height * down]
        annotations.append(with_box(annotation, box, scale))
    return dict(coco) | {"images": images, "annotations": annotations}


def scale_images(
    coco: Mapping[str, Any],
    image_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    factor: float,
    *,
    progress: bool = False,
) -> tuple[int, int]:
    """Writes downsampled copies of the images of `coco`, which holds their own sizes.

    See `write_changed_images`; a ValueError names an image of another size than
    annotated.
    """
    sizes = {i["file_name"]: (i["width"], i["height"]) for i in coco["images"]}

    def shrink(name: str, image: np.ndarray) -> np.ndarray:
        found = image.shape[1::-1]
        if found != sizes[name]:
            there, said = (f"{w}x{h}" for w, h in (found, sizes[name]))
            raise ValueError(f"{name} is {there}, annotated are {said}")
        # Averages the pixels, as a camera farther away would.
        size = scaled_size(*found, factor)
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    return write_changed_images(
        sizes,
        image_dir,
        out_dir,
        shrink,
        settings={"factor": factor, "annotations": sorted(sizes.items())},
        progress=progress,
        label="scaling",
    )
