"""Images as a detector's own test pipeline reads and prepares them."""

from __future__ import annotations

import copy
import os
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import Compose, LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmdet.utils import get_test_pipeline_cfg
from torch import nn

# What a model's image loader may say about decoding; the rest is about where from.
_DECODING = ("to_float32", "color_type", "imdecode_backend", "backend_args")
_DTYPES = (np.uint8, np.float32)


def read_image(path: str | os.PathLike[str], model: nn.Module | None = None) -> Any:
    """Read an image as a detector does.

    Args:
        path: of a file, or an address that mmengine's file backends know.
        model: detector whose test pipeline says how to decode; without one the image
            is read in colour by OpenCV.

    Returns:
        `(height, width, 3)` array, BGR unless the model's pipeline has it otherwise.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: it is no image, or `model` has no test pipeline.
    """
    settings = {} if model is None else _pipeline_config(model)[0]
    decoding = {key: settings[key] for key in _DECODING if key in settings}
    try:
        image = LoadImageFromFile(**decoding)(dict(img_path=str(path)))["img"]
    except OSError as error:
        if error.errno is None:  # Pillow's: it was opened, and cannot be decoded
            raise ValueError(f"cannot read the image {path}: {error}") from error
        raise
    # An assertion of mmcv's, or OpenCV's own error where the file is empty.
    except (AssertionError, cv2.error) as error:
        raise ValueError(
            f"cannot read the image {path}: it is empty, damaged, too large or of an "
            "unknown format"
        ) from error
    return as_colour(image)


def as_colour(image: np.ndarray) -> np.ndarray:
    """Return `(height, width, 3)`; gray images get three equal channels.

    Raises:
        TypeError: `image` is no array of uint8 or float32.
        ValueError: it has another shape, or no pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype not in _DTYPES:
        kind = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"image must be a path or an array of uint8 or float32: {kind}")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.size == 0:
        raise ValueError(
            "image must be (height, width), (height, width, 1) or (height, width, 3), "
            f"got the shape {image.shape}"
        )
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def array_pipeline(model: nn.Module, resize: bool = True) -> Compose:
    """Build a detector's test pipeline for images that are arrays.

    Args:
        model: detector from ``mmdet.apis.init_detector``.
        resize: whether the pipeline resizes; if not, its resizing steps keep the size.

    Returns:
        What turns ``dict(img=array, img_id=0)`` into ``inputs`` and ``data_samples``.

    Raises:
        ValueError: the model has no test pipeline, or none that starts by loading.
    """
    loader, *steps = _pipeline_config(model)
    to_float32 = bool(loader.get("to_float32", False))
    steps.insert(0, dict(type="mmdet.LoadImageFromNDArray", to_float32=to_float32))
    if not resize:
        # Not left out: the detectors want its scale_factor.
        keep = dict(type="mmdet.Resize", scale_factor=1.0)
        steps = [keep if "Resize" in _name(step) else step for step in steps]
    # mmcv's Compose would look in mmcv's registry, which lacks mmdet's transforms
    # unless a default scope is set.
    return Compose([TRANSFORMS.build(step) for step in steps])


def _pipeline_config(model: nn.Module) -> list[dict[str, Any]]:
    try:
        steps = get_test_pipeline_cfg(model.cfg)
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            "the model has no test pipeline: it needs "
            "model.cfg.test_dataloader.dataset.pipeline, which "
            "mmdet.apis.init_detector takes from the config"
        ) from error
    if not steps or not _name(steps[0]).startswith("Load"):
        raise ValueError(
            "the model's test pipeline must start by loading the image, got "
            f"{[_name(step) for step in steps]}"
        )
    return [copy.deepcopy(step) for step in steps]


def _name(step: dict[str, Any]) -> str:
    """Return the class name of a step; its type is a name, with scope, or a class."""
    kind = step["type"]
    return kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
