"""Detectors for testing, and images as their test pipelines read them.

Channels, number type and colours are what the detector's own loader makes of a file:
nothing here takes an image for three channels of 8 bits.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import get_test_pipeline_cfg, register_all_modules
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import load_state_dict
from mmengine.structures import InstanceData
from torch import nn

from .checkpoints import last_checkpoint, read_checkpoint, state_dict_of
from .config_tools import walk
from .messages import one_line

DTYPES = (np.uint8, np.uint16, np.int16, np.float32)  # images that can be resized


def load_detector(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None,
    device: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a detector for testing; its checkpoint is read once, safely.

    The detector gets ``cfg`` and ``dataset_meta``, as from ``init_detector`` of mmdet,
    but that COCO's classes are never guessed: see `class_names`.

    Args:
        config: file of any mmdet detector.
        checkpoint: its weights, or a training's work dir, whose last checkpoint is
            taken; ``None`` for random weights, always the same.
        device: where it runs; ``None`` for ``cuda:0`` if there is one, else ``cpu``.
        options: overrides of config values.

    Raises:
        FileNotFoundError: a file is not there, or the folder has no checkpoint.
        ValueError: the config's detector cannot be built, or the checkpoint holds no
            weights or what safe loading refuses.
    """
    path = Path(config).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no config {path}")
    file = None if checkpoint is None else find_checkpoint(checkpoint)
    register_all_modules(init_default_scope=True)
    content = {} if file is None else read_checkpoint(file)
    settings = Config()
    # A config is a program, and a model's constructor too: they raise what they like.
    try:
        settings = Config.fromfile(path)
        settings.merge_from_dict(dict(options or {}))
        if "backbone" not in (settings.get("model") or {}):
            raise ValueError("it has no model with a backbone")
        settings.model.backbone.pop("init_cfg", None)  # weights from elsewhere
        with torch.random.fork_rng(), warnings.catch_warnings(record=True):
            torch.manual_seed(0)
            model = revert_sync_batchnorm(MODELS.build(settings.model))
            if file is None:
                model.init_weights()
    except Exception as error:
        reason = one_line(error, [node for _, node in walk(settings)])
        raise ValueError(f"the detector of {path} cannot be built: {reason}") from error
    if file is not None:
        load_state_dict(model, state_dict_of(content, str(file)))
    model.cfg = settings
    model.dataset_meta = _dataset_meta(model, settings, content)
    return model.to(device or default_device()).eval()


def default_device() -> str:
    """Return ``cuda:0`` if there is one, else ``cpu``."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def find_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Return a checkpoint, or the last one of a work dir.

    Raises:
        FileNotFoundError: there is none.
    """
    file = Path(path).expanduser()
    if file.is_file():
        return file
    if not file.is_dir():
        raise FileNotFoundError(f"there is no checkpoint {file}")
    if (last := last_checkpoint(file)) is None:
        raise FileNotFoundError(
            f"no training has saved a checkpoint in {file}: there is no "
            "last_checkpoint; name the file"
        )
    return last


def class_names(
    found: str | tuple[str, ...] | None, number: int, offered: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return as many names as there are classes, or more.

    Args:
        found: names that the checkpoint or the config's ``metainfo`` has. Classes
            beyond them are called ``class 7``, counted from 0.
        number: classes that the detector predicts.
        offered: names of the data set's type, taken where `found` is missing and there
            are as many.
    """
    if found is None and len(offered) == number:
        found = offered
    names = (found,) if isinstance(found, str) else tuple(found or ())
    return names + tuple(f"class {i}" for i in range(len(names), number))


def _dataset_meta(model: nn.Module, config: Config, content: Any) -> dict[str, Any]:
    meta = content.get("meta") or {}
    known = meta.get("dataset_meta") or {"classes": meta.get("CLASSES")}
    known = {key.lower(): value for key, value in known.items()}
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    while "dataset" in dataset or "datasets" in dataset:
        dataset = dataset.get("dataset") or dataset["datasets"][0]
    own: Mapping[str, Any] = {}
    if "type" in dataset:
        # Lazily: annotation files are not read.
        own = DATASETS.build(dict(dataset, lazy_init=True)).metainfo
    names, offered = known.get("classes"), tuple(own.get("classes") or ())
    if names is None and "classes" in (dataset.get("metainfo") or {}):
        names = own["classes"]
    numbers = [
        module.num_classes
        for path, module in model.named_modules()
        if "head" in path and isinstance(getattr(module, "num_classes", None), int)
    ]
    known["classes"] = class_names(names, max(numbers, default=0), offered)
    # As in mmdet, the config's colours come first.
    palette = own.get("palette") or known.get("palette")
    return dict(known, palette=palette) if palette else known


def horizontal_boxes(sample: DetDataSample, model: nn.Module) -> InstanceData:
    """Return the boxes, scores and labels of a detection, without masks.

    Raises:
        ValueError: the model gives no boxes, or rotated ones.
    """
    if "pred_instances" not in sample or "bboxes" not in sample.pred_instances:
        raise ValueError(f"the {type(model).__name__} gives no boxes")
    found = sample.pred_instances
    boxes = get_box_tensor(found.bboxes)
    if boxes.shape[1] != 4:
        raise ValueError(f"boxes must be of 4 numbers, got {boxes.shape[1]}")
    return InstanceData(
        bboxes=boxes.float(), scores=found.scores.float(), labels=found.labels
    )


def read_image(
    path: str | os.PathLike[str], model: nn.Module | None = None
) -> np.ndarray:
    """Read an image as a detector does: `(height, width[, channels])`, colour as BGR.

    Args:
        path: of a file, or an address that mmengine's file backends know.
        model: detector whose test pipeline's first step loads; without one the image
            is read in colour by OpenCV.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: it is no image, or `model` has no test pipeline.
    """
    loader = dict(type="LoadImageFromFile") if model is None else _steps(model)[0]
    if _name(loader) == "LoadImageFromNDArray":  # what inference_detector leaves behind
        loader["type"] = "LoadImageFromFile"
    try:
        return TRANSFORMS.build(loader)(dict(img_path=os.fspath(path)))["img"]
    except OSError as error:
        if error.errno is not None:
            raise
        # Pillow's: it was opened, and cannot be decoded.
        raise ValueError(f"cannot read the image {path}: {error}") from error
    # An assertion of mmcv's, or OpenCV's own error where the file is empty.
    except (AssertionError, cv2.error) as error:
        reason = "it is empty, damaged, too large or of an unknown format"
        raise ValueError(f"cannot read the image {path}: {reason}") from error


def as_loaded(image: np.ndarray, model: nn.Module) -> np.ndarray:
    """Give an array the channels that the detector's loader gives to files.

    Args:
        image: `(height, width)` or `(height, width, channels)`, uint8, uint16, int16 or
            float32.
        model: detector; a loader of ``color_type`` color makes three channels of one,
            one of grayscale one of three.

    Raises:
        TypeError: `image` is no array of these types.
        ValueError: it has another shape, or no pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype not in DTYPES:
        raise TypeError(
            "image must be a path or an array of uint8, uint16, int16 or float32, got "
            f"{getattr(image, 'dtype', type(image).__name__)}"
        )
    channels = 1 if image.ndim == 2 else image.shape[-1]
    colours = _steps(model)[0].get("color_type", "color")
    wrong = channels not in (1, 3) and colours in ("color", "grayscale")
    if image.ndim not in (2, 3) or image.size == 0 or wrong:
        raise ValueError(
            "image must be (height, width) or (height, width, channels), with the 1 or "
            f"3 channels of an image file, got the shape {image.shape}"
        )
    if colours == "color" and channels == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if colours == "grayscale" and channels == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return image


def array_pipeline(model: nn.Module, resize: bool = True) -> Compose:
    """Build a detector's test pipeline for images that are arrays.

    It turns ``dict(img=array, img_id=0)`` into ``inputs`` and ``data_samples``.

    Args:
        model: detector from `load_detector` or ``mmdet.apis.init_detector``.
        resize: whether the pipeline resizes; if not, its resizing steps keep the size.

    Raises:
        ValueError: the model has no test pipeline, or none that starts by loading.
    """
    loader, *steps = _steps(model)
    to_float32 = bool(loader.get("to_float32", False))
    steps.insert(0, dict(type="mmdet.LoadImageFromNDArray", to_float32=to_float32))
    if not resize:
        # Not left out: the detectors want its scale_factor.
        keep = dict(type="mmdet.Resize", scale_factor=1.0)
        steps = [keep if "Resize" in _name(step) else step for step in steps]
    # mmcv's Compose would look in mmcv's registry, which lacks mmdet's transforms
    # unless a default scope is set.
    return Compose([TRANSFORMS.build(step) for step in steps])


def _steps(model: nn.Module) -> list[dict[str, Any]]:
    try:
        steps = get_test_pipeline_cfg(model.cfg)
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            "the model has no test pipeline: it needs "
            "model.cfg.test_dataloader.dataset.pipeline"
        ) from error
    if not steps or not _name(steps[0]).startswith("Load"):
        raise ValueError(
            "the model's test pipeline must start by loading the image, got "
            f"{[_name(step) for step in steps]}"
        )
    return [copy.deepcopy(step) for step in steps]


def _name(step: dict[str, Any]) -> str:
    """Return the class name of a step; its type is a name, with scope, or a class."""
    name = step["type"]
    return name.rpartition(".")[2] if isinstance(name, str) else name.__name__
