"""Random images and boxes, as a data loader gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch import Tensor

SMALLEST, LARGEST = 0.04, 0.5
"""Sides of the objects, as parts of the image's sides."""


def synthetic_batch(
    size: tuple[int, int],
    images: int,
    num_classes: int,
    objects: int = 8,
    masks: bool = False,
    channels: int = 3,
    seed: int = 0,
) -> dict[str, list[Any]]:
    """Make images of random pixels with random boxes, as a data loader gives them.

    The sides of the boxes are spread evenly on a logarithmic scale, so that every level
    of a pyramid has some.

    Args:
        size: (height, width) in pixels.
        images: number of images.
        num_classes: labels are below it.
        objects: boxes per image.
        masks: give each object an ellipse that fills its box as its mask.
        channels: of the images.
        seed: of the random numbers; the same arguments give the same batch.

    Returns:
        ``inputs``: ``(channels, H, W)`` bytes for each image, and ``data_samples``.

    Raises:
        ValueError: a number is below 1.
    """
    numbers = dict(
        height=size[0],
        width=size[1],
        images=images,
        num_classes=num_classes,
        objects=objects,
    )
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    random = np.random.default_rng(seed)
    pictures: list[Tensor] = []
    samples: list[DetDataSample] = []
    for index in range(images):
        pixels = random.integers(0, 256, (channels, *size), dtype=np.uint8)
        pictures.append(torch.from_numpy(pixels))
        boxes = _boxes(random, size, objects)
        truth = InstanceData(
            bboxes=torch.from_numpy(boxes).float(),
            labels=torch.from_numpy(random.integers(0, num_classes, objects)),
        )
        ignored = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        if masks:
            truth.masks = BitmapMasks(_ellipses(boxes, size), *size)
            ignored.masks = BitmapMasks(np.zeros((0, *size), np.uint8), *size)
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_path=f"random image {index}",
                img_shape=size,
                ori_shape=size,
                scale_factor=(1.0, 1.0),
                flip=False,
                flip_direction=None,
            )
        )
        sample.gt_instances = truth
        sample.ignored_instances = ignored
        samples.append(sample)
    return dict(inputs=pictures, data_samples=samples)


def _boxes(
    random: np.random.Generator, size: tuple[int, int], number: int
) -> np.ndarray:
    sides = np.array([size[1], size[0]])  # x, y
    share = np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST), (number, 2)))
    # A box has at least a pixel, and no more than the image has.
    extent = np.minimum(np.maximum(share * sides, 1), sides)
    corner = random.uniform(0, 1, (number, 2)) * (sides - extent)
    return np.concatenate([corner, corner + extent], axis=1)


def _ellipses(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    y, x = np.ogrid[: size[0], : size[1]]
    masks = np.zeros((len(boxes), *size), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        across = (x + 0.5 - (x1 + x2) / 2) / ((x2 - x1) / 2)
        down = (y + 0.5 - (y1 + y2) / 2) / ((y2 - y1) / 2)
        mask[across**2 + down**2 <= 1] = 1
    return masks
