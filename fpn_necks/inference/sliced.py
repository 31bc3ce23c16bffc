"""Detection on tiles of a large image, merged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from fpn_necks.datasets import tile_corners
from fpn_necks.detectors import (
    array_pipeline,
    as_loaded,
    horizontal_boxes,
    read_image,
)
from fpn_necks.layers.arguments import check_int, check_number

from .merging import find_cut_duplicates, suppress


@torch.no_grad()
def detect_sliced(
    model: nn.Module,
    image: str | os.PathLike[str] | np.ndarray,
    tile_wh: Sequence[int] = (640, 512),
    overlap_wh: Sequence[int] = (50, 50),
    batch_size: int = 4,
    nms_threshold: float | None = 0.5,
    per_class: bool = True,
    score_threshold: float = 0.0,
    max_detections: int | None = None,
    also_whole_image: bool = False,
    *,
    border_margin: int | None = 4,
    resize_tiles: bool = True,
    ignore_masks: bool = False,
) -> DetDataSample:
    """Detect on overlapping tiles of an image and merge what they give.

    Each tile passes through the detector's own test pipeline as if it were an image;
    its maximum number of detections (``max_per_img``) therefore counts per tile. One
    batch of tiles is in memory at a time. An image of a single tile gives what
    ``mmdet.apis.inference_detector`` gives: nothing is merged.

    Args:
        model: any detector of horizontal boxes from ``mmdet.apis.init_detector``.
        image: a path, or an array `(height, width, 3)` in BGR or `(height, width)` in
            gray, or of whatever else the detector's loader gives.
        tile_wh: (width, height) of a tile in pixels. A smaller image is one tile.
        overlap_wh: (width, height) that neighbours share at least. Objects no larger
            are wholly inside a tile wherever they lie.
        batch_size: tiles that pass the network at once.
        nms_threshold: of the boxes of all tiles, a box is dropped that has a larger IoU
            than this, in (0, 1], with a better one; ``None`` drops none.
        per_class: boxes of different classes do not suppress each other.
        score_threshold: boxes below are dropped; the detector's own threshold comes
            first.
        max_detections: the best so many of the image are kept; ``None`` for all.
        also_whole_image: run the image as a whole as well, for objects larger than the
            tiles. Its pipeline resizes it even if `resize_tiles` is off.
        border_margin: drop boxes that come within so many pixels of an inner tile
            border if another tile found more of the object, see
            `fpn_necks.inference.merging.find_cut_duplicates`; ``None`` drops none.
            Where the default comes from: docs/sliced_inference.md.
        resize_tiles: let the test pipeline resize the tiles as it resizes images; if
            not, the network sees them in their own size.
        ignore_masks: merge the boxes of a detector that gives masks too.

    Returns:
        A sample whose ``pred_instances`` has ``bboxes`` `(n, 4)` as x1, y1, x2, y2 in
        pixels of the image, ``scores`` and ``labels``, by falling score, on the model's
        device; ``ori_shape`` and ``img_shape`` are the image's.

    Raises:
        ValueError: an argument is out of range, the image cannot be read or has a wrong
            shape, the model is in training mode, has no test pipeline or gives no
            boxes, or masks that are not to be ignored.
        TypeError: a size is no whole number, or the image no array or path.
        OSError: the image is missing or cannot be opened.
    """
    limits = nms_threshold, score_threshold, max_detections, border_margin
    check_settings(tile_wh, overlap_wh, batch_size, *limits)
    if model.training:
        raise ValueError("the model is in training mode: call model.eval() before")
    path = os.fspath(image) if isinstance(image, str | os.PathLike) else None
    pixels = read_image(path, model) if path is not None else image
    pixels = as_loaded(pixels, model)
    height, width = pixels.shape[:2]
    tiles = tile_corners((width, height), tile_wh, overlap_wh)
    views = [pixels[y1:y2, x1:x2] for x1, y1, x2, y2 in tiles]
    pipeline = array_pipeline(model, resize_tiles)
    jobs = [
        (pipeline, views[first : first + batch_size])
        for first in range(0, len(tiles), batch_size)
    ]
    if also_whole_image and len(tiles) > 1:
        jobs.append((array_pipeline(model), [pixels]))
    parts: list[InstanceData] = []
    for pipeline, batch in jobs:
        parts += _forward(model, pipeline, batch, ignore_masks)

    # Boxes in pixels of the image, and the row of the tile of each: -1 for the image.
    for part, (x1, y1, _, _) in zip(parts, tiles.tolist(), strict=False):
        part.bboxes = part.bboxes + part.bboxes.new_tensor([x1, y1, x1, y1])
    found = InstanceData.cat(parts)
    owners = torch.tensor([k if k < len(tiles) else -1 for k in range(len(parts))])
    counts = torch.tensor([len(part) for part in parts])
    owners = owners.repeat_interleave(counts).to(found.labels.device)
    kept = found.scores >= score_threshold
    found, owners = found[kept], owners[kept]
    if border_margin is not None:
        labels = found.labels if per_class else torch.zeros_like(found.labels)
        tiles = torch.as_tensor(tiles)
        found = found[
            ~find_cut_duplicates(found.bboxes, labels, owners, tiles, border_margin)
        ]
    threshold = nms_threshold if len(parts) > 1 else None
    kept = suppress(found.bboxes, found.scores, found.labels, threshold, per_class)
    shape = height, width
    return DetDataSample(
        metainfo=dict(img_path=path, ori_shape=shape, img_shape=shape),
        pred_instances=found[kept[:max_detections]],
    )


def check_settings(
    tile_wh: Sequence[int],
    overlap_wh: Sequence[int],
    batch_size: int,
    nms_threshold: float | None,
    score_threshold: float,
    max_detections: int | None,
    border_margin: int | None,
    **others: Any,
) -> None:
    """Check the options of `detect_sliced` before a model or an image is loaded."""
    tile_corners((1, 1), tile_wh, overlap_wh)
    check_int("batch_size", batch_size)
    check_number("score_threshold", score_threshold, maximum=1)
    if nms_threshold is not None:
        check_number("nms_threshold", nms_threshold, above=0, maximum=1)
    if max_detections is not None:
        check_int("max_detections", max_detections)
    if border_margin is not None:
        check_int("border_margin", border_margin, minimum=0)


def _forward(
    model: nn.Module, pipeline: Compose, views: list[np.ndarray], ignore_masks: bool
) -> list[InstanceData]:
    """Return boxes in pixels of each view, scores and labels."""
    # Copies: a step of the pipeline may write into what it gets.
    packed = [pipeline(dict(img=view.copy(), img_id=0)) for view in views]
    batch = {key: [item[key] for item in packed] for key in packed[0]}
    samples = model.test_step(batch)
    has_masks = any("masks" in x.get("pred_instances", ()) for x in samples)
    if has_masks and not ignore_masks:
        raise ValueError(
            "the model gives masks, which cannot be merged; ignore_masks=True merges "
            "its boxes alone"
        )
    return [horizontal_boxes(sample, model) for sample in samples]
