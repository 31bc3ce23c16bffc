"""A detector, and images as its network sees them."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.apis import init_detector
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn

from fpn_necks.checkpoints import require_safe_checkpoint
from fpn_necks.inference.images import array_pipeline, read_image


@dataclass(frozen=True)
class View:
    """An image as a detector's test pipeline gives it to the network.

    Attributes:
        name: of the image.
        original: ``(height, width, 3)`` RGB, as it was read.
        image: ``(height, width, 3)`` RGB uint8, resized, without padding.
        padded: height and width in pixels of what the network sees.
        batch: the input of the model's ``forward``: the image alone.
    """

    name: str
    original: np.ndarray
    image: np.ndarray
    padded: tuple[int, int]
    batch: Mapping[str, Any] = field(repr=False)


def load_detector(
    config: str | Path,
    checkpoint: str | Path | None,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a detector for testing.

    Args:
        config: file of any mmdet detector.
        checkpoint: its weights; a folder is a training's work dir, whose last
            checkpoint is taken; ``None`` for random weights, always the same.
        device: where it runs.
        options: overrides of config values.

    Raises:
        FileNotFoundError: a file is not there, or the folder has no checkpoint.
        ValueError: the config has no model with a backbone, or safe loading refuses the
            checkpoint.
        Exception: what the config and the detector raise.
    """
    if not Path(config).is_file():
        raise FileNotFoundError(f"there is no config {config}")
    file = None if checkpoint is None else checkpoint_file(Path(checkpoint))
    if file is not None:
        require_safe_checkpoint(file)
    register_all_modules(init_default_scope=True)
    settings = Config.fromfile(config)
    settings.merge_from_dict(dict(options or {}))
    if "backbone" not in settings.get("model", {}):
        raise ValueError(f"{config} has no model with a backbone")
    # mmdet's notes on palettes and missing checkpoints; it resets filters.
    with warnings.catch_warnings(record=True):
        if file is not None:
            return init_detector(settings, str(file), device=device)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = init_detector(settings, None, device=device)
            model.init_weights()
    return model.eval()


def checkpoint_file(path: Path) -> Path:
    """Return a checkpoint, or the last one of a work dir.

    Raises:
        FileNotFoundError: there is none.
    """
    if path.is_dir():
        checkpoints = checkpoints_of(path)
        if not checkpoints:
            raise FileNotFoundError(f"no epoch_*.pth or iter_*.pth in {path}")
        return max(checkpoints, key=lambda file: file.stat().st_mtime_ns)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    return path


def checkpoints_of(work_dir: Path) -> list[Path]:
    """Return the numbered checkpoints of a training, in the order of their numbers."""
    numbered = [
        (int(match[1]), path)
        for path in work_dir.glob("*.pth")
        if (match := re.fullmatch(r"(?:epoch|iter)_(\d+)", path.stem))
    ]
    return [path for _, path in sorted(numbered)]


def prepare(model: nn.Module, path: str | Path) -> View:
    """Read an image and pass it through the detector's own test pipeline.

    Args:
        model: from ``load_detector`` or ``mmdet.apis.init_detector``.
        path: of the image.

    Raises:
        OSError: the image is missing or cannot be opened.
        ValueError: it is no image, or the model has no test pipeline.
    """
    pixels = read_image(path, model)
    packed = array_pipeline(model)(dict(img=pixels.copy(), img_id=0))
    seen = packed["inputs"].permute(1, 2, 0).cpu().numpy()
    batch = model.data_preprocessor(
        dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]]), False
    )
    return View(
        name=Path(path).name,
        original=_rgb(pixels),
        image=_rgb(seen),
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


def _rgb(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1].clip(0, 255).astype(np.uint8))
