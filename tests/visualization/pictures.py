"""Tiny detectors to look at, and what every picture is held to."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
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
    """Hold a picture to be a file of some size that is not empty; return its texts."""
    picture = cv2.imread(str(path))
    assert min(picture.shape[:2]) >= 200 and picture.std() > 5
    shown = [text for text in figure.findobj(Text) if text.get_visible()]
    return [text.get_text() for text in shown if text.get_text()]


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
