"""Counts on real boxes: COCO images and blood cells."""

from pathlib import Path

import pytest
from mmengine.config import Config

from fpn_necks.shipped_configs import config_path
from fpn_necks.statistics import (
    build_dataset,
    count_positive_anchors,
    estimate_from_config,
    read_boxes,
)
from tests.shared_data import shared

from .brute_force import count_by_full_matrix
from .test_positive_anchors import count_with_all_anchors

CONFIGS = [
    "retinanet_r50_s-alpha-fpn_1x_coco",
    "faster-rcnn_r50_s-alpha-fpn_1x_coco",
    "retinanet_r50_s-alpha-fpn_1xb2-1x_coco100",
]


def on_tiny_coco(name: str) -> tuple[Config, Path]:
    root = shared("data/tiny_coco")
    config = Config.fromfile(config_path(name))
    config.train_dataloader.dataset.data_root = f"{root}/"
    return config, root


@pytest.mark.parametrize("name", CONFIGS)
def test_best_anchors_of_coco_equal_the_full_matrix(name: str) -> None:
    from mmdet.registry import MODELS

    config, _ = on_tiny_coco(name)
    report = estimate_from_config(config)
    annotations = read_boxes(build_dataset(config), size_divisor=32)
    model = MODELS.build(config.model)
    head = getattr(model, "rpn_head", None) or model.bbox_head
    boxes, shapes = annotations.boxes[:15], annotations.shapes[:15]
    expected = count_by_full_matrix(boxes, shapes, head.prior_generator)
    config.train_dataloader.dataset.indices = 15
    first = estimate_from_config(config)
    assert first.counts == expected.tolist()
    assert report.num_images == len(annotations.boxes) == 49
    assert sum(report.counts) + report.without_level == annotations.num_boxes


def test_positive_anchors_of_coco_equal_all_anchors() -> None:
    from mmdet.registry import MODELS

    config, _ = on_tiny_coco(CONFIGS[0])
    annotations = read_boxes(build_dataset(config), size_divisor=32)
    head = MODELS.build(config.model).bbox_head
    boxes, shapes = annotations.boxes[:15], annotations.shapes[:15]
    arguments = (boxes, shapes, head.prior_generator, head.assigner)
    expected = count_with_all_anchors(*arguments)
    assert count_positive_anchors(*arguments).tolist() == expected.tolist()
