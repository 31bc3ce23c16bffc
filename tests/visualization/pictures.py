"""Tiny detectors to look at, and what every picture is held to."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from mmengine.hub import get_config

from tests.inference.small_detectors import noise
from tests.tiny_detectors import load_config, shrink

ASFF_ON_S_ALPHA = "retinanet_r50_s-alpha-fpn-asff_1x_coco"
SOFT_ROI = "faster-rcnn_r50_augfpn_1x_coco"
DRFPN = "retinanet_r50_drfpn_3xb8-1x_coco"
CFG = "retinanet_r50_cfg-fpn_1x_coco"
DENSE = "retinanet_r101_fpn_auxiliary-uncertainty_1x_coco"
ROIS = "faster-rcnn_r101_fpn_auxiliary-uncertainty_1x_coco"
PLAIN = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"

IMAGE_SIZE = (144, 100)  # (width, height): the height is padded to 128


def write_config(folder: Path, name: str, **changes: object) -> Path:
    """Write the config of a tiny detector; images are resized to ``IMAGE_SIZE``."""
    config = shrink(load_config(name), num_classes=80)
    first = config.model.neck
    first = first[0] if isinstance(first, list) else first
    if first.type == "SAlphaFPN":
        first.fusion_factor = [0.5, 0.25]
    for step in config.test_dataloader.dataset.pipeline:
        if step.type == "Resize":
            step.scale = IMAGE_SIZE
    test = config.model.test_cfg
    if "rpn" in test:
        test.rpn.max_per_img = test.rpn.nms_pre = 40
    config.merge_from_dict(changes)
    path = folder / f"{name}.py"
    config.dump(path)
    return path


def write_image(folder: Path, name: str = "picture.png", seed: int = 0) -> Path:
    """Write an image of ``IMAGE_SIZE``."""
    path = folder / name
    cv2.imwrite(str(path), noise(*IMAGE_SIZE, seed=seed))
    return path


def keep_figures(monkeypatch) -> list[Figure]:
    """Return a list that every figure joins when it is written."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments, **options) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def check_picture(path: Path, figure: Figure) -> list[str]:
    """Hold a picture to what can be read; return its texts.

    It is a file of some size that is not empty, no text lies on another, and none
    reaches out of the picture.
    """
    picture = cv2.imread(str(path))
    assert min(picture.shape[:2]) >= 200 and picture.std() > 5
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # the file was written in another resolution
    renderer = figure.canvas.get_renderer()
    texts = _texts(figure)
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
    boxes = [(text, box) for text, box in boxes if box.width and box.height]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        common = a.intersection(a, b)
        assert common is None or common.width * common.height < 1, (one, other)
    for text, box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    return [text for text, _ in boxes]


def _texts(figure: Figure) -> list[Text]:
    texts = [figure._suptitle]
    for legend in figure.legends:
        texts += legend.get_texts()
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        texts += [axes.title, *axes.texts]
        if not axes.axison:
            continue
        texts += [axes.xaxis.label, axes.yaxis.label]
        for axis, limits in (
            (axes.xaxis, axes.get_xlim()),
            (axes.yaxis, axes.get_ylim()),
        ):
            low, high = sorted(limits)
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            texts += [text for place, text in ticks if low <= place <= high]
    return [text for text in texts if text.get_visible() and text.get_text()]


def write_plain(folder: Path) -> Path:
    """Write a tiny Faster R-CNN of mmdet's own, with nothing of ours."""
    config = shrink(get_config(PLAIN), num_classes=80)
    for step in config.test_dataloader.dataset.pipeline:
        if step.type == "Resize":
            step.scale = IMAGE_SIZE
    config.model.test_cfg.rcnn.score_thr = 0.0  # random weights are sure of nothing
    path = folder / "plain.py"
    config.dump(path)
    return path


def rms(x: torch.Tensor) -> np.ndarray:
    """The root of the mean square over channels, by numpy."""
    return np.sqrt((x[0].detach().numpy().astype(np.float64) ** 2).mean(0))
