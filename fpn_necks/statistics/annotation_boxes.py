"""The boxes a detector is trained on, from annotations alone: no image is loaded."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fpn_necks.layers.arguments import check_number

# Transforms that leave the size of boxes alone. Flips move them, which does not matter.
SIZE_PRESERVING = frozenset(
    "LoadImageFromFile LoadImageFromNDArray LoadImageTile LoadAnnotations RandomFlip "
    "PackDetInputs Pad Normalize PhotoMetricDistortion YOLOXHSVRandomAug "
    "ColorTransform Color Brightness Contrast Sharpness Solarize SolarizeAdd Posterize "
    "Equalize AutoContrast Invert CutOut RandomErasing RandomShift".split()
)
RESIZING = ("Resize", "RandomResize", "RandomChoiceResize", "ResizeShortestEdge")


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
    for part in _plain_datasets(dataset, result.notes):
        if _is_unlabelled(part):
            _add_note(result.notes, "data without labels (semi-supervised) is left out")
            continue
        _read_part(part, size_divisor, progress, result)
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


def _plain_datasets(dataset: Any, notes: list[str]) -> Iterator[Any]:
    if hasattr(dataset, "datasets"):
        for part in dataset.datasets:
            yield from _plain_datasets(part, notes)
    elif hasattr(dataset, "dataset"):
        if getattr(dataset, "pipeline", None) is not None:
            _add_note(notes, f"transforms of {type(dataset).__name__} are not applied")
        yield from _plain_datasets(dataset.dataset, notes)
    else:
        yield dataset


def _is_unlabelled(dataset: Any) -> bool:
    """Whether a set's annotations are hidden from the training."""
    transforms = getattr(dataset.pipeline, "transforms", [])
    return any(type(x).__name__ == "LoadEmptyAnnotations" for x in transforms)


def _read_part(
    dataset: Any, size_divisor: int, progress: bool, result: AnnotationBoxes
) -> None:
    transforms = _size_changing_transforms(dataset.pipeline, result.notes)
    with _seeded_numpy():
        for i in tqdm(
            range(len(dataset)),
            desc="reading annotations",
            unit="image",
            disable=not progress,
        ):
            info = dataset.get_data_info(i)
            image_shape, boxes = _checked(info, getattr(dataset, "ann_file", None))
            shape, scaled = _resize(image_shape, boxes, transforms)
            padded = tuple(math.ceil(s / size_divisor) * size_divisor for s in shape)
            result.shapes.append(padded)
            result.boxes.append(torch.from_numpy(scaled))


def _checked(info: dict[str, Any], ann_file: Any) -> tuple[tuple[int, int], np.ndarray]:
    """Return (height, width) and boxes of an image; mmdet's own sets check neither."""
    where = f"{ann_file}: image {info.get('img_id')!r}"
    shape = (info["height"], info["width"])
    try:
        for name, side in zip(("height", "width"), shape, strict=True):
            check_number(name, side, above=0)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {str(error)[:200]}") from error
    kept = [x["bbox"] for x in info["instances"] if not x.get("ignore_flag", 0)]
    try:
        # Its largest numbers are no float32: then they are infinite.
        with np.errstate(over="ignore"):
            boxes = np.array(kept, dtype=np.float32).reshape(-1, 4)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{where} has a box that is not 4 numbers: {error}") from error
    if not np.isfinite(boxes).all():
        raise ValueError(f"{where} has a box that is not finite")
    return shape, boxes


def _size_changing_transforms(pipeline: Any, notes: list[str]) -> list[Any]:
    kept = []
    for transform in getattr(pipeline, "transforms", []):
        name = type(transform).__name__
        if name in RESIZING or name == "FilterAnnotations":
            kept.append(transform)
        elif name == "MultiBranch":
            for branch in transform.branch_pipelines.values():
                kept += _size_changing_transforms(branch, notes)
        elif name not in SIZE_PRESERVING:
            note = f"transform {name} is not applied: the counts are without it"
            _add_note(notes, note)
        if name in ("RandomResize", "RandomChoiceResize"):
            _add_note(notes, f"{name}: one size per image was drawn with a fixed seed")
    return kept


def _add_note(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def _resize(
    shape: tuple[int, int], boxes: np.ndarray, transforms: Sequence[Any]
) -> tuple[tuple[int, int], np.ndarray]:
    """Return the (height, width) and boxes that a pipeline would give."""
    for transform in transforms:
        name = type(transform).__name__
        if name == "FilterAnnotations":
            if transform.by_box:
                sides = boxes[:, 2:] - boxes[:, :2]
                boxes = boxes[(sides > transform.min_gt_bbox_wh).all(1)]
            continue
        new_shape = _new_shape(name, transform, shape)
        scale = np.array([new_shape[1] / shape[1], new_shape[0] / shape[0]] * 2)
        boxes = (boxes * scale).astype(np.float32)
        resize = getattr(transform, "resize", transform)
        if getattr(resize, "clip_object_border", True):
            boxes = boxes.clip(0, [new_shape[1], new_shape[0]] * 2).astype(np.float32)
        shape = new_shape
    return shape, boxes


def _new_shape(name: str, transform: Any, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) that one resizing transform gives an image."""
    from mmcv.image.geometric import _scale_size, rescale_size

    size = (shape[1], shape[0])  # mmcv wants (width, height)
    resize = transform
    if name == "RandomResize":
        scale, resize = transform._random_scale(), transform.resize
    elif name == "RandomChoiceResize":
        scale, resize = transform._random_select()[0], transform.resize
    else:
        scale = transform.scale
    if type(resize).__name__ == "ResizeShortestEdge":
        # It reads nothing of the image but its shape.
        image = np.broadcast_to(np.uint8(0), (*shape, 3))
        size, keep_ratio = resize._get_output_shape(image, scale), False
        scale = size
    else:
        keep_ratio = resize.keep_ratio
        if not scale:
            scale = _scale_size(size, resize.scale_factor)
    width, height = rescale_size(size, scale) if keep_ratio else scale
    return height, width


@contextlib.contextmanager
def _seeded_numpy() -> Iterator[None]:
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)
