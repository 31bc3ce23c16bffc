"""Shipped configs made small enough to train for a few steps on a processor."""

from pathlib import Path

from mmengine.config import Config

from fpn_necks.shipped_configs import config_path
from tests.tiny_sets import CLASSES, use_coco_set


def shrink(config: Config, num_classes: int = len(CLASSES)) -> Config:
    """Give a config a ResNet-18 without weights; necks and heads keep their widths."""
    width = config.model.backbone.get("base_channels", 64)
    config.merge_from_dict(
        {
            "model.backbone.depth": 18,
            "model.backbone.init_cfg": None,
            "model.backbone.frozen_stages": -1,
            "model.backbone.norm_cfg.requires_grad": True,
            "model.neck.in_channels": [width * 2**i for i in range(4)],
        }
    )
    heads = [config.model.get("bbox_head"), config.model.get("roi_head")]
    for head in filter(None, heads):
        boxes = head.get("bbox_head", head)
        for box_head in boxes if isinstance(boxes, list) else [boxes]:
            box_head.num_classes = num_classes
    return config


def detector_config(name: str, data: Path) -> Config:
    """Return a shipped config, made small, that trains one epoch on a tiny set."""
    config = shrink(Config.fromfile(config_path(name)))
    config.merge_from_dict(use_coco_set(data))
    config.merge_from_dict(
        {
            "train_cfg.max_epochs": 1,
            "train_cfg.val_interval": 100,
            "default_hooks.logger.interval": 1,
            "vis_backends": [],
            "visualizer.vis_backends": [],
            "randomness": dict(seed=0),
        }
    )
    for split in ("train", "val", "test"):
        for transform in config[f"{split}_dataloader"].dataset.pipeline:
            if transform.type == "Resize":
                transform.pop("scale_factor", None)
                transform.scale = (192, 128)
            elif transform.type == "RandomCrop":
                transform.allow_negative_crop = True
    return config
