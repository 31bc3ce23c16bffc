"""Does the batch fit the neck, and the learning rate the batch?"""

from __future__ import annotations

import torch

from ..config_keys import value_at
from ..detectors import Detector
from ..findings import Finding
from ..measuring import meta_maps, neck_stages


def judge_batches(detector: Detector) -> list[Finding]:
    """Judge the training's ``batch_size`` and ``auto_scale_lr``."""
    images = value_at(detector.config, "train_dataloader.batch_size")
    if type(images) is not int:
        return []
    return _training_step(detector, images) + _learning_rate(detector, images)


def _training_step(detector: Detector, images: int) -> list[Finding]:
    """Run the neck as in training: normalisation of pooled maps needs two images."""
    if images != 1 or not detector.outputs or detector.maps.device != "meta":
        return []
    neck, inputs = neck_stages(detector.model), detector.maps.backbone
    if not neck or not inputs:
        return []
    try:
        maps = meta_maps(inputs, images)
        with torch.no_grad():
            for stage in neck:
                maps = stage.train()(maps)
    except ValueError as error:
        return [
            Finding(
                "error",
                "train_dataloader.batch_size",
                f"the neck cannot be trained with one image: {error}",
                "take two images or more, or GN as that normalisation",
                {"train_dataloader.batch_size": 2},
            )
        ]
    except RuntimeError:  # an operator without meta form: not judged
        return []
    finally:
        for stage in neck:
            stage.eval()
    return []


def _learning_rate(detector: Detector, images: int) -> list[Finding]:
    key = "auto_scale_lr.base_batch_size"
    base = value_at(detector.config, key)
    rate = value_at(detector.config, "optim_wrapper.optimizer.lr")
    if type(base) is not int or base == images or rate is None:
        return []
    if value_at(detector.config, "auto_scale_lr.enable"):
        return []
    processes = f"{base // images} processes, or " if base % images == 0 else ""
    return [
        Finding(
            "note",
            key,
            f"the learning rate {rate} is for {base} images per step; one process has "
            f"{images}",
            f"train with {processes}--auto-scale-lr",
            {"auto_scale_lr.enable": True},
        )
    ]
