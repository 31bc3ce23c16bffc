"""What a detector is told of an image, written down by a test."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData


def data_sample(
    boxes: Any = (),
    labels: Sequence[int] | None = None,
    ignored: Any = (),
    size: tuple[int, int] = (64, 96),
    masks: bool = False,
) -> DetDataSample:
    """Return the sample of an image.

    Args:
        boxes: of the objects, x1, y1, x2, y2.
        labels: of the objects; by default 0 and 1 by turns.
        ignored: boxes to ignore.
        size: height and width in pixels.
        masks: objects and what is ignored have masks that fill their boxes.
    """
    sizes = ("img_shape", "ori_shape", "pad_shape", "batch_input_shape")
    meta = dict.fromkeys(sizes, size) | dict(img_id=0, scale_factor=(1.0, 1.0))
    sample = DetDataSample(metainfo=meta)
    sample.gt_instances = _instances(boxes, labels, size, masks)
    sample.ignored_instances = _instances(ignored, None, size, masks)
    return sample


def _instances(
    rows: Any, labels: Sequence[int] | None, size: tuple[int, int], masks: bool
) -> InstanceData:
    boxes = torch.as_tensor(rows, dtype=torch.float).reshape(-1, 4)
    if labels is None:
        labels = [i % 2 for i in range(len(boxes))]
    found = InstanceData(bboxes=boxes, labels=torch.as_tensor(labels, dtype=torch.long))
    if masks:
        drawn = np.zeros((len(boxes), *size), dtype=np.uint8)
        for mask, (left, top, right, bottom) in zip(
            drawn, boxes.int().tolist(), strict=True
        ):
            mask[top:bottom, left:right] = 1
        found.masks = BitmapMasks(drawn, *size)
    return found
