"""The boxes a detector is trained on, from annotations alone: no image is loaded."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fpn_necks.config_tools import unwrap_dataset
from fpn_necks.layers.arguments import check_number

# Transforms that leave the size of boxes alone. Flips move them, which does not matter.
SIZE_PRESERVING = frozenset(
    "LoadImageFromFile LoadImageFromNDArray LoadImageTile LoadAnnotations RandomFlip "
    "PackDetInputs Pad Normalize PhotoMetricDistortion YOLOXHSVRandomAug "
    "ColorTransform Color Brightness Contrast Sharpness Solarize SolarizeAdd Posterize "
    "Equalize AutoContrast Invert CutOut RandomErasing RandomShift".split()
)
RANDOM = ("RandomResize", "RandomChoiceResize")


@dataclass
class AnnotationBoxes:
    """Ground truths in pixels of the network's input.

    Attributes:
        boxes: per image, ``(n, 4)`` float32 (x1, y1, x2, y2).
        shapes: per image, (height, width) padded to the size divisor.
        notes: what was left out of account, one sentence each.
    """

    boxes: list[Tensor] = field(default_factory=list)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def num_boxes(self) -> int:
        """Number of boxes of all images."""
        return sum(map(len, self.boxes))


def read_boxes(
    dataset: Any, size_divisor: int = 1, progress: bool = False
) -> AnnotationBoxes:
    """Read all ground truths of a training set, resized as its pipeline would.

    Ignored and crowd boxes are left out. Random resizes are drawn once per image with a
    fixed seed, without disturbing numpy's global state. The padded shape is that of the
    image alone, because the batch it will be padded with is not known.

    Args:
        dataset: an mmdet dataset; wrappers (repeat, concatenate) are looked through,
            repetitions are not counted.
        size_divisor: sides are padded to a multiple of it, in pixels.
        progress: show a progress bar.

    Raises:
        ValueError: the set has no box, or an image or a box has no size.
    """
    result = AnnotationBoxes()
    for _, part in unwrap_dataset(dataset):
        resizes, notes = _resizing_transforms(part.pipeline)
        result.notes += [note for note in notes if note not in result.notes]
        numbers = range(len(part))
        with _seeded_numpy():
            for i in tqdm(
                numbers, "reading annotations", unit="image", disable=not progress
            ):
                shape, boxes = _read_image(part, i)
                for transform in resizes:
                    shape, boxes = _resize(transform, shape, boxes)
                padded = [math.ceil(x / size_divisor) * size_divisor for x in shape]
                result.shapes.append(tuple(padded))
                result.boxes.append(torch.from_numpy(boxes))
    if result.num_boxes == 0:
        raise ValueError(
            f"the training set ({type(dataset).__name__}, "
            f"ann_file={getattr(dataset, 'ann_file', None)!r}, {len(result.boxes)} "
            "images) has no box: check ann_file and metainfo['classes']"
        )
    return result


def build_dataset(config: Any) -> Any:
    """Build the training set of an mmdet config.

    Raises:
        FileNotFoundError: the annotation file is missing.
        ValueError: the annotation file cannot be read by the dataset class.
    """
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    settings = config.train_dataloader.dataset
    try:
        # pycocotools prints to the standard output, which belongs to our caller.
        with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull):
            return DATASETS.build(settings)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"annotation file {error.filename!r} of the training set "
            f"({settings.get('type')}) does not exist; set "
            "train_dataloader.dataset.data_root and ann_file"
        ) from error
    except Exception as error:  # wrong files fail in every way, and are never named
        raise ValueError(
            f"annotation file {settings.get('ann_file')!r} under "
            f"{settings.get('data_root')!r} cannot be read as {settings.get('type')} "
            f"expects it: {type(error).__name__}: {error}"
        ) from error


def _read_image(dataset: Any, index: int) -> tuple[tuple[int, int], np.ndarray]:
    """Return (height, width) and boxes of an image; mmdet's own sets check neither."""
    info = dataset.get_data_info(index)
    shape = (info["height"], info["width"])
    kept = [x["bbox"] for x in info["instances"] if not x.get("ignore_flag", 0)]
    try:
        for name, side in zip(("height", "width"), shape, strict=True):
            check_number(name, side, above=0)
        # The largest numbers are no float32: then they are infinite.
        with np.errstate(over="ignore"):
            boxes = np.array(kept, dtype=np.float32).reshape(-1, 4)
        if not np.isfinite(boxes).all():
            raise ValueError("a box is not finite")
    except (OverflowError, TypeError, ValueError) as error:
        where = f"{getattr(dataset, 'ann_file', None)}: image {info.get('img_id')!r}"
        raise ValueError(f"{where}: {str(error)[:200]}") from error
    return shape, boxes


def _resizing_transforms(pipeline: Any) -> tuple[list[Any], list[str]]:
    """Return the transforms that resize boxes or leave some out, and notes."""
    kept, notes = [], []
    for transform in getattr(pipeline, "transforms", []):
        name = type(transform).__name__
        if name in ("Resize", "FilterAnnotations", *RANDOM):
            kept.append(transform)
        elif name not in SIZE_PRESERVING:
            notes.append(f"transform {name} is not applied: the counts are without it")
        if name in RANDOM:
            notes.append(f"{name}: one size per image was drawn with a fixed seed")
    return kept, notes


def _resize(
    transform: Any, shape: tuple[int, int], boxes: np.ndarray
) -> tuple[tuple[int, int], np.ndarray]:
    """Return the (height, width) and boxes that a transform would give."""
    from mmcv.image.geometric import _scale_size, rescale_size

    name = type(transform).__name__
    if name == "FilterAnnotations":
        sides = boxes[:, 2:] - boxes[:, :2]
        return shape, boxes[(sides > transform.min_gt_bbox_wh).all(1)]
    resize = transform.resize if name in RANDOM else transform
    size = (shape[1], shape[0])  # mmcv wants (width, height)
    if name == "RandomResize":
        scale = transform._random_scale()
    elif name == "RandomChoiceResize":
        scale = transform._random_select()[0]
    else:
        scale = resize.scale or _scale_size(size, resize.scale_factor)
    width, height = rescale_size(size, scale) if resize.keep_ratio else scale
    boxes = boxes * np.array([width / shape[1], height / shape[0]] * 2)
    if resize.clip_object_border:
        boxes = boxes.astype(np.float32).clip(0, [width, height] * 2)
    return (height, width), boxes.astype(np.float32)


@contextlib.contextmanager
def _seeded_numpy() -> Iterator[None]:
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)
