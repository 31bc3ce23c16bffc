"""Detectors for tests: real ones with random weights, and one that reads colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from tests.tiny_detectors import load_config, set_statistic_factors, shrink
from tests.tiny_sets import CLASSES

NAMES = ("retinanet_r50_s-alpha-fpn_1x_coco", "faster-rcnn_r50_s-alpha-fpn_1x_coco")
PER_TILE = 15


def write_detector(folder: Path, name: str, seed: int = 0) -> tuple[Path, Path]:
    """Write config and checkpoint of a small detector that finds something anywhere."""
    config = shrink(load_config(name))
    for step in config.test_dataloader.dataset.pipeline:
        if step.type == "Resize":
            step.scale = (144, 120)
    test = config.model.test_cfg
    test = test.get("rcnn", test)
    test.score_thr, test.max_per_img, test.nms.iou_threshold = 0.0, PER_TILE, 0.7
    torch.manual_seed(seed)
    model = MODELS.build(config.model)
    model.init_weights()
    set_statistic_factors(model)
    for key, parameter in model.named_parameters():
        # Scores near their start are all the same.
        if "retina_cls" in key or "fc_cls" in key:
            nn.init.normal_(parameter, std=0.3)
    paths = folder / f"{name}.py", folder / f"{name}.pth"
    config.dump(paths[0])
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), paths[1])
    return paths


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Return an image that is coarse enough to look different to a network."""
    random = np.random.default_rng(seed)
    cells = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.ascontiguousarray(cells.repeat(8, 0).repeat(8, 1)[:height, :width])


class ColourDetector(nn.Module):
    """Finds objects without an error: each has a colour (number, class, 255) in BGR.

    What a tile shows of an object is found as a box of its own. By `score` a box is as
    good as it is large, or, to be unhelpful, as it is small.

    Args:
        steps: of the test pipeline after loading, but for the packing.
        best: ``"large"`` or ``"small"``.
        loader: the first step.
    """

    def __init__(
        self,
        steps: tuple[dict[str, Any], ...] = (),
        best: str = "large",
        loader: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        pipeline = [loader or dict(type="LoadImageFromFile"), *steps]
        pipeline.append(dict(type="mmdet.PackDetInputs"))
        dataset = dict(pipeline=pipeline)
        self.cfg = Config(dict(test_dataloader=dict(dataset=dataset)))
        self.best = best
        self.batches: list[list[tuple[int, int]]] = []
        self.kinds: set[torch.dtype] = set()
        self.eval()

    def test_step(self, data: dict[str, Any]) -> list[DetDataSample]:
        """Find the objects of a batch."""
        self.batches.append([tuple(view.shape[1:]) for view in data["inputs"]])
        self.kinds |= {view.dtype for view in data["inputs"]}
        for view, sample in zip(data["inputs"], data["data_samples"], strict=True):
            sample.pred_instances = self.find(view, sample)
        return data["data_samples"]

    def find(self, view: Tensor, sample: DetDataSample) -> InstanceData:
        """Return what is on one tile, in pixels before any resizing."""
        number, label = view[0].long(), view[1].long()
        boxes, labels = [], []
        for value in number[view[2] == 255].unique().tolist():
            y, x = ((number == value) & (view[2] == 255)).nonzero().T
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
            labels.append(label[y[0], x[0]])
        corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        area = (corners[:, 2:] - corners[:, :2]).prod(1)
        share = area / 1e5
        corners /= torch.tensor(sample.get("scale_factor", (1.0, 1.0))).repeat(2)
        return InstanceData(
            bboxes=corners,
            scores=share if self.best == "large" else 1 - share,
            labels=torch.tensor(labels, dtype=torch.long),
        )


def draw_objects(width: int, height: int, boxes: np.ndarray) -> np.ndarray:
    """Draw objects that `ColourDetector` finds; later ones are in front."""
    image = np.zeros((height, width, 3), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist(), 1):
        image[y1:y2, x1:x2] = (number, number % 3, 255)
    return image


def place_objects(
    width: int, height: int, sides: tuple[int, int], count: int, seed: int
) -> np.ndarray:
    """Place boxes that do not touch each other, `(n, 4)` whole numbers."""
    random = np.random.default_rng(seed)
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(count):
        w, h = random.integers(sides[0], sides[1] + 1, 2).tolist()
        x = int(random.integers(0, width - w + 1))
        y = int(random.integers(0, height - h + 1))
        if all(x > b[2] or x + w < b[0] or y > b[3] or y + h < b[1] for b in boxes):
            boxes.append((x, y, x + w, y + h))
    return np.array(boxes)


def sorted_boxes(result: DetDataSample) -> list[list[float]]:
    """Return the boxes that were found, in an order that scores do not decide."""
    return sorted(result.pred_instances.bboxes.tolist())
