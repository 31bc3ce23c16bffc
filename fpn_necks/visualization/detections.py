"""What detectors find on an image, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmdet.structures import DetDataSample
from torch import nn

from fpn_necks.detectors import horizontal_boxes
from fpn_necks.io import save_figure

from .boxes import draw_detections
from .figures import DPI, new_figure, panel_size, wrap
from .views import View, run


def collect_detections(
    model: nn.Module, view: View, score_threshold: float = 0.3
) -> tuple[View, DetDataSample, np.ndarray]:
    """Detect on an image, with any detector of horizontal boxes.

    Returns:
        The view; a sample whose ``pred_instances`` are the boxes with such a score, in
        pixels of the original; and the original with them, RGB.
    """
    if not 0 <= score_threshold <= 1:
        raise ValueError(f"score_threshold must be in [0, 1], got {score_threshold}")
    found = horizontal_boxes(run(model, view), model)
    sample = DetDataSample(
        metainfo=dict(score_threshold=score_threshold),
        pred_instances=found[found.scores >= score_threshold],
    )
    meta = getattr(model, "dataset_meta", {})
    drawn = draw_detections(view.original[..., ::-1], sample, meta)
    return view, sample, drawn[..., ::-1]


def draw_found(
    entries: Sequence[tuple[str, tuple[View, DetDataSample, np.ndarray]]],
    path: str | Path,
) -> None:
    """Write a picture of detections; two detectors stand side by side."""
    view, first, _ = entries[0][1]
    height, width = (2.2 * side for side in panel_size([view]))
    figure, grid = new_figure(
        f"{view.name}: detections with a score of at least {first.score_threshold:g}",
        (1, len(entries)),
        (width, height + 0.55),
        margins=(0.2, 0.2),
    )
    for axes, (label, (_, sample, drawn)) in zip(grid[0], entries, strict=True):
        axes.imshow(drawn, extent=(0, drawn.shape[1], drawn.shape[0], 0))
        count = f"{len(sample.pred_instances)} found"
        axes.set_title(f"{wrap(label, 50)}\n{count}" if label else count, fontsize=9)
        axes.set_axis_off()
    save_figure(figure, path, dpi=DPI)
