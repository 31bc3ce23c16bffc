"""Prepare the study's images: their size, and the splits that choose the rates."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from recipe import PREPARATION

Coco = dict[str, Any]


def prepare(data: str, source: Path, target: Path) -> None:
    """Write ``images/`` and ``annotations/{train,fit,choose,test}.json``, once.

    TinyPerson's images, which were squeezed to squares, get their shape back.

    Args:
        data: a key of `PREPARATION`.
        source: a folder per split with its images, ``annotations/`` beside them.
        target: the folder to write.

    Raises:
        FileNotFoundError: the source lacks something.
    """
    import cv2

    if (target / "done").exists():
        return
    settings = PREPARATION[data]
    (target / "images").mkdir(parents=True, exist_ok=True)
    (target / "annotations").mkdir(exist_ok=True)
    for split, written in (("train", "train"), (settings["test"], "test")):
        coco = json.loads((source / "annotations" / f"{split}.json").read_text())
        coco = without_dense_images(coco, settings["most_boxes"])
        coco = resized(coco, settings["size"], prefix=f"{written}_")
        for image in coco["images"]:
            file = source / split / image["file_name"].removeprefix(f"{written}_")
            pixels = cv2.imread(str(file))
            if pixels is None:
                raise FileNotFoundError(f"{file} cannot be read")
            larger = pixels.shape[1] < image["width"]
            kind = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
            pixels = cv2.resize(pixels, settings["size"], interpolation=kind)
            file = target / "images" / image["file_name"]
            cv2.imwrite(str(file), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
        parts = {written: coco}
        if split == "train":
            fit, choose = split_by_video(coco, settings["choose"])
            parts |= dict(fit=fit, choose=choose)
        for name, part in parts.items():
            file = target / "annotations" / f"{name}.json"
            file.write_text(json.dumps(part))
    (target / "done").touch()


def without_dense_images(coco: Coco, most: int | None) -> Coco:
    """Leave out images of more than `most` boxes, as TinyPerson does."""
    counts: dict[int, int] = defaultdict(int)
    for annotation in coco["annotations"]:
        counts[annotation["image_id"]] += 1
    if most is None:
        return coco
    return _of_images(coco, [i for i in coco["images"] if counts[i["id"]] <= most])


def resized(coco: Coco, size: tuple[int, int], prefix: str) -> Coco:
    """Scale boxes to images of a size (width, height), and prefix file names."""
    images, factors = [], {}
    for image in coco["images"]:
        factors[image["id"]] = [size[0] / image["width"], size[1] / image["height"]]
        name = prefix + image["file_name"]
        images.append(dict(image, width=size[0], height=size[1], file_name=name))
    annotations = []
    for annotation in coco["annotations"]:
        scales = factors[annotation["image_id"]] * 2
        box = [x * s for x, s in zip(annotation["bbox"], scales, strict=True)]
        annotations.append(dict(annotation, bbox=box, area=box[2] * box[3]))
    return dict(coco, images=images, annotations=annotations)


def split_by_video(coco: Coco, most: int) -> tuple[Coco, Coco]:
    """Return the images to fit and at most `most` images that choose the rate.

    Every fifth video chooses, and of its images every n-th; the others of these videos
    are in neither part. An image that is of no video counts as one, but TinyPerson's
    photos of the web, some of which are in its validation split too, never choose.
    """
    images = sorted(coco["images"], key=lambda image: image["file_name"])
    videos = sorted({video_of(image["file_name"]) for image in images})
    chosen = {v for v in videos if not is_web_photo(v)}
    chosen = set(sorted(chosen)[::5])
    own = [image for image in images if video_of(image["file_name"]) in chosen]
    fit = [image for image in images if video_of(image["file_name"]) not in chosen]
    return _of_images(coco, fit), _of_images(coco, own[:: -(-len(own) // most)])


def video_of(file_name: str) -> str:
    """Return the video of an image, ``bb_V0002``, or its name if it has none."""
    found = re.match(r"[a-z]+_([a-z]+\d*_[VP]\d+|bing000)", file_name)
    return found[1] if found else file_name


def is_web_photo(video: str) -> bool:
    """Whether a group of TinyPerson's images was found on the web, one by one."""
    return "_P" in video or video == "bing000"


def _of_images(coco: Coco, images: list[dict[str, Any]]) -> Coco:
    kept = {image["id"] for image in images}
    boxes = [a for a in coco["annotations"] if a["image_id"] in kept]
    return dict(coco, images=images, annotations=boxes)
