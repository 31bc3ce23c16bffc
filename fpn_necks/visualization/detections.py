"""What detectors find on an image, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import nn

from .boxes import draw_detections
from .figures import new_figure, panel_size, save, wrap
from .views import View, run


@dataclass(frozen=True)
class Detections:
    """Detections on an image.

    Attributes:
        view: the image.
        sample: with ``pred_instances``, boxes in pixels of the original.
        meta: the model's ``dataset_meta``.
        score_threshold: detections below are left out.
    """

    view: View
    sample: DetDataSample
    meta: Mapping[str, Any]
    score_threshold: float


def collect_detections(
    model: nn.Module, view: View, score_threshold: float = 0.3
) -> Detections:
    """Detect on an image, with any detector of horizontal boxes."""
    if not 0 <= score_threshold <= 1:
        raise ValueError(f"score_threshold must be in [0, 1], got {score_threshold}")
    sample = run(model, view)
    if "pred_instances" not in sample or "bboxes" not in sample.pred_instances:
        raise ValueError(f"the {type(model).__name__} gives no boxes")
    found = sample.pred_instances
    boxes = get_box_tensor(found.bboxes)
    if boxes.shape[1] != 4:
        raise ValueError(f"boxes must be 4 numbers, got {boxes.shape[1]}")
    chosen = InstanceData(bboxes=boxes, scores=found.scores, labels=found.labels)
    sample = DetDataSample(pred_instances=chosen[found.scores >= score_threshold])
    return Detections(view, sample, getattr(model, "dataset_meta", {}), score_threshold)


def draw_found(entries: Sequence[tuple[str, Detections]], path: str | Path) -> None:
    """Write a picture of detections; two detectors stand side by side."""
    first = entries[0][1]
    panel_height, panel_width = (2.2 * side for side in panel_size([first.view]))
    figure, grid = new_figure(
        f"{first.view.name}: detections with a score of at least "
        f"{first.score_threshold:g}",
        (1, len(entries)),
        (panel_width, panel_height + 0.55),
        margins=(0.2, 0.2),
    )
    for axes, (label, found) in zip(grid[0], entries, strict=True):
        pixels = found.view.original[..., ::-1]
        drawn = draw_detections(pixels, found.sample, found.meta)[..., ::-1]
        axes.imshow(drawn, extent=(0, drawn.shape[1], drawn.shape[0], 0))
        count = f"{len(found.sample.pred_instances)} found"
        axes.set_title(f"{wrap(label, 50)}\n{count}" if label else count, fontsize=9)
        axes.set_axis_off()
    save(figure, path)
