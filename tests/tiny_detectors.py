"""Shipped configs made small enough to train for a few steps on a processor."""

import copy
import functools
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub

from fpn_necks import config_tools
from fpn_necks.shipped_configs import config_path
from tests.tiny_sets import CLASSES, use_coco_set

# The widths of mmdet's pyramids and heads, and what they become; GN's groups keep
# their 8 channels.
WIDTHS = {256: 32, 1024: 64, 2048: 128}  # 2048: C5, of detectors without neck
GROUPS = {32: 4}
BACKBONE_WIDTH = 16
# What a detector without neck has its own way in the backbone.
DILATED = ("strides", "dilations", "out_indices")
PLAIN_PIPELINE = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(192, 128), keep_ratio=True),
    dict(type="PackDetInputs"),
]
DARKNETS = ("Darknet", "CSPDarknet", "CSPNeXt")
IMAGE_SIZE = (192, 128)  # (width, height) in pixels


def shrink(config: Config, num_classes: int = len(CLASSES)) -> Config:
    """Give a config a ResNet-18 without weights, and narrow necks and heads.

    DarkNet has no smaller form: YOLOs and RTMDet keep their widths.

    Args:
        config: of any shipped detector; it is changed.
        num_classes: what the heads are to tell apart.
    """
    model = config.model
    if model.backbone.type in DARKNETS:
        model.backbone.init_cfg = None
    else:
        _shrink_pyramid(model)
    auxiliary = model.get("auxiliary")
    if auxiliary:
        if "feature_channels" in auxiliary or auxiliary.type == "DenseAuxiliary":
            auxiliary.feature_channels = 16
        if auxiliary.type == "RoIAuxiliary":
            head = auxiliary.get("bbox_head", {})
            auxiliary.bbox_head = dict(head, fc_out_channels=16)
    _replace(model, {"num_classes": {80: num_classes, 8: num_classes, 1: num_classes}})
    return config


def narrow_yolo(config: Config) -> Config:
    """Give a YOLOv3 a ResNet-18 and an eighth of its widths, which ``shrink`` leaves.

    Args:
        config: of a YOLOv3 with ASFF; it is changed.
    """
    config.model.backbone = ConfigDict(
        type="ResNet",
        depth=18,
        base_channels=BACKBONE_WIDTH,
        out_indices=(1, 2, 3),
    )
    eighth = {width: width // 8 for width in (1024, 512, 256, 128)}
    names = ("in_channels", "out_channels", "lead_channels")
    _replace(config.model, dict.fromkeys(names, eighth))
    return config


def use_few_rois(config: Config, proposals: int = 100, sampled: int = 32) -> Config:
    """Give a two-stage detector the RoIs that a small image needs.

    Args:
        config: of any shipped detector; it is changed.
        proposals: RoIs of the RPN per image, in training and testing.
        sampled: RoIs of each stage per image in training.
    """
    train = config.model.get("train_cfg") or {}
    if "rpn_proposal" in train:
        train.rpn_proposal.max_per_img = proposals
        config.model.test_cfg.rpn.max_per_img = proposals
        stages = train.rcnn if isinstance(train.rcnn, list) else [train.rcnn]
        for stage in stages:
            stage.sampler.num = sampled
    return config


def load_config(name: str) -> Config:
    """Return a shipped config of one's own to change; files are read once."""
    return copy.deepcopy(_read_config(name))


@functools.cache
def _read_config(name: str) -> Config:
    return Config.fromfile(config_path(name))


def detector_config(name: str, data: Path) -> Config:
    """Return a shipped config, made small, that trains one epoch on a tiny set."""
    return make_tiny(load_config(name), data)


def make_tiny(config: Config, data: Path) -> Config:
    """Make a config small and let it train one epoch on a tiny set.

    Args:
        config: any shipped one; it is changed.
        data: folder of ``write_coco_set``.
    """
    shrink(config)
    train = config.train_dataloader
    if train.dataset.type == "RepeatDataset":
        train.dataset = train.dataset.dataset
    elif train.dataset.type == "ConcatDataset":
        train.dataset = train.dataset.datasets[0]
    elif train.dataset.type == "MultiImageMixDataset":
        train.dataset = train.dataset.dataset
    if config.model.backbone.type in DARKNETS[1:]:
        # Mosaics are no matter of the neck; nor are the hooks that end them.
        train.dataset.pipeline = copy.deepcopy(PLAIN_PIPELINE)
        config.custom_hooks = []
    for split in ("train", "val", "test"):
        dataset = config[f"{split}_dataloader"].dataset
        if dataset.type != "TinyPersonDataset":
            dataset.type = "CocoDataset"
        elif dataset.get("tiles"):
            dataset.tiles.size = IMAGE_SIZE
        dataset.serialize_data = False  # it runs the garbage collector
    for split in ("val", "test"):
        # Cityscapes has a metric of its own behind COCO's.
        evaluators = config[f"{split}_evaluator"]
        if isinstance(evaluators, list):
            config[f"{split}_evaluator"] = evaluators[0]
        elif evaluators.get("tiles"):
            evaluators.tiles.size = IMAGE_SIZE
    config.merge_from_dict(use_coco_set(data))
    config.load_from = None
    counts_steps = "max_iters" in config.train_cfg
    config.merge_from_dict(
        {
            f"train_cfg.max_{'iters' if counts_steps else 'epochs'}": 1,
            "train_cfg.val_interval": 100,
            "default_hooks.logger.interval": 1,
            "vis_backends": [],
            "visualizer.vis_backends": [],
            "randomness": dict(seed=0),
        }
    )
    for split in ("train", "val", "test"):
        for transform in config[f"{split}_dataloader"].dataset.pipeline:
            if "Resize" in transform.type:
                transform.pop("scale_factor", None)
                scale = transform.get("scale")
                transform.scale = [IMAGE_SIZE] * 2 if _is_range(scale) else IMAGE_SIZE
            for key in ("source_ann_file", "target_ann_file"):
                if key in transform:
                    transform[key] = str(data / "annotations.json")
    return config


def take_few_boxes(settings: Any) -> None:
    """Let samplers take 32 RoIs of 50, and testing find 5 objects, however unlikely.

    Args:
        settings: a detector's ``train_cfg`` or ``test_cfg``; it is changed.
    """
    if isinstance(settings, list):
        for part in settings:
            take_few_boxes(part)
    elif isinstance(settings, dict):
        if "num" in settings.get("sampler", {}):
            settings["sampler"]["num"] = 32
        if "nms_pre" in settings:
            settings["nms_pre"] = 50
        if "max_per_img" in settings:
            settings["max_per_img"] = 50 if settings["max_per_img"] > 100 else 5
        if "score_thr" in settings:
            settings["score_thr"] = 1e-4
        for part in settings.values():
            take_few_boxes(part)


def set_statistic_factors(model: torch.nn.Module) -> None:
    """Do what FusionFactorHook does before training."""
    config_tools.set_statistic_factors(model, 0.5)


def build(config: ConfigDict, seed: int = 0) -> torch.nn.Module:
    """Build a detector in training mode, with the weights of a seed."""
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    set_statistic_factors(model)
    return model.train()


def train_and_test_a_step(config: Config) -> torch.nn.Module:
    """Do a training step and a test step of a tiny config.

    The step has two images, one of them without objects, or with ignored ones alone;
    every parameter must get a gradient.
    """
    model = build(config.model)
    config.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=False)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[3]])
    last = batch["data_samples"][1]
    assert len(last.gt_instances) == 0
    if config.train_dataloader.dataset.type == "TinyPersonDataset":
        assert len(last.ignored_instances) == 1
    # mmdet's resizing of whole batches asks which iteration it is.
    MessageHub.get_current_instance().update_info("iter", 0)
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    total, values = model.parse_losses(losses)
    assert total.isfinite()
    assert all(torch.isfinite(torch.as_tensor(value)) for value in values.values())
    total.backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"No gradient for {key}"
            assert parameter.grad.isfinite().all(), f"Gradient of {key} is not finite"
    model.eval()
    tests = DATASETS.build(config.test_dataloader.dataset)
    with torch.no_grad():
        results = model.test_step(pseudo_collate([tests[0]]))
    assert results[0].pred_instances.bboxes.shape[1] == 4
    assert model.with_mask == ("masks" in results[0].pred_instances)
    return model


def _is_range(scale: Any) -> bool:
    return isinstance(scale, list) and isinstance(scale[0], list | tuple)


def _shrink_pyramid(model: ConfigDict) -> None:
    names = ("in_channels", "out_channels", "feat_channels", "conv_out_channels")
    names += ("fc_out_channels", "proposal_feature_channel")
    changes = {name: WIDTHS for name in names}
    # Grid R-CNN has 9 times as many channels there, in 36 groups.
    _replace(model, changes | {"num_groups": GROUPS, "point_feat_channels": {64: 4}})
    backbone = model.backbone
    model.backbone = ConfigDict(
        type="ResNet",
        depth=18,
        base_channels=BACKBONE_WIDTH,
        style=backbone.get("style", "pytorch"),
        norm_eval=backbone.get("norm_eval", True),
        **{name: backbone[name] for name in DILATED if "neck" not in model},
    )
    if "neck" in model:
        neck = model.neck
        first = neck[0] if isinstance(neck, list) else neck
        first.in_channels = [BACKBONE_WIDTH * 2**i for i in range(4)]


def _replace(node: Any, changes: dict[str, dict[int, int]]) -> None:
    """Replace numbers, alone or in lists, below the given keys of a nested config."""
    if isinstance(node, list):
        for item in node:
            _replace(item, changes)
    elif isinstance(node, dict):
        for key, value in node.items():
            values = changes.get(key, {})
            if isinstance(value, int):
                node[key] = values.get(value, value)
            elif isinstance(value, list) and values:
                node[key] = [values.get(item, item) for item in value]
            else:
                _replace(value, changes)
