"""Images as a detector's network sees them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from torch import nn

from fpn_necks.detectors import array_pipeline, as_loaded, read_image

from .boxes import to_8_bits


@dataclass(frozen=True)
class View:
    """An image as a detector's test pipeline gives it to the network.

    Attributes:
        name: of the image.
        original: ``(height, width, 3)`` RGB uint8, as it was read.
        image: ``(height, width, 3)`` RGB uint8, resized, without padding.
        padded: height and width in pixels of what the network sees.
        batch: the input of the model's ``forward``: the image alone.
    """

    name: str
    original: np.ndarray
    image: np.ndarray
    padded: tuple[int, int]
    batch: Mapping[str, Any] = field(repr=False)


def prepare(model: nn.Module, path: str | Path) -> View:
    """Read an image and pass it through the detector's own test pipeline.

    Args:
        model: from ``fpn_necks.detectors.load_detector`` or mmdet's ``init_detector``.
        path: of the image.

    Raises:
        OSError: the image is missing or cannot be opened.
        ValueError: it is no image, or the model has no test pipeline.
    """
    pixels = as_loaded(read_image(path, model), model)
    packed = array_pipeline(model)(dict(img=pixels.copy(), img_id=0))
    seen = packed["inputs"].permute(1, 2, 0).cpu().numpy()
    batch = model.data_preprocessor(
        dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]]), False
    )
    return View(
        name=Path(path).name,
        original=to_8_bits(pixels)[..., ::-1],
        image=to_8_bits(seen)[..., ::-1],
        padded=tuple(batch["inputs"].shape[-2:]),
        batch=batch,
    )


@torch.no_grad()
def run(model: nn.Module, view: View) -> DetDataSample:
    """Detect on an image, as ``test_step`` does; boxes are in pixels of the original.

    Raises:
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError("the model is in training mode: call model.eval() before")
    # Predictions are written into the samples.
    return model(**copy.deepcopy(dict(view.batch)), mode="predict")[0]
