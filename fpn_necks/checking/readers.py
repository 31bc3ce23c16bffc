"""Who reads the pyramid: heads with anchors or points, and RoI extractors."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import nn

from .config_keys import has_key, key_of_module

Stride = tuple[float, float]

NOT_JUDGED = ("auxiliary",)
"""Parts of a model whose heads are left out: they have judges of their own."""

_DENSE_HEADS = re.compile(r"(rpn_head|bbox_head)(\..*)?")
# HTC's semantic extractor reads another map, that of its semantic head.
_EXTRACTORS = re.compile(r"roi_head\.(bbox|mask|grid|keypoint)_roi_extractor(\.\d+)?")
_STRIDE_KEYS = (
    "anchor_generator.strides",
    "prior_generator.strides",
    "strides",
    "point_strides",
)


@dataclasses.dataclass(frozen=True)
class Reader:
    """A module that reads the maps of the pyramid.

    Args:
        name: in ``model.named_modules()``.
        kind: of the module, by its class.
        key: the config key of its strides.
        strides: (x, y) in pixels, one per map that it reads.
        reads_all: whether it must have as many strides as there are maps; an RoI
            extractor reads the first ones.
        module: the module itself.
    """

    name: str
    kind: str
    key: str
    strides: tuple[Stride, ...]
    reads_all: bool
    module: nn.Module = dataclasses.field(repr=False)


def find_readers(model: nn.Module, config: Mapping[str, Any]) -> list[Reader]:
    """Return the readers of a detector that say which strides they expect."""
    readers: dict[str, Reader] = {}
    for name, module in judged_modules(model):
        strides: Any = None
        if isinstance(module, BaseRoIExtractor) and _EXTRACTORS.fullmatch(name):
            strides = module.featmap_strides
        elif _DENSE_HEADS.fullmatch(name):
            strides = getattr(getattr(module, "prior_generator", None), "strides", None)
        if not isinstance(strides, Sequence) or not strides:
            continue
        if hasattr(getattr(module, "prior_generator", None), "input_size"):
            continue  # SSD: its maps have these strides in images of one size only
        key = key_of_module(config, name)
        if key is None:
            continue
        reads_all = not isinstance(module, BaseRoIExtractor)
        key = _stride_key(config, key) if reads_all else f"{key}.featmap_strides"
        # One dict can describe several modules (the stages of a Cascade R-CNN).
        readers.setdefault(
            key,
            Reader(
                name,
                type(module).__name__,
                key,
                tuple(_pair(stride) for stride in strides),
                reads_all,
                module,
            ),
        )
    return list(readers.values())


def judged_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the named modules of a detector but for those of ``NOT_JUDGED``."""
    for name, module in model.named_modules():
        if name and name.split(".")[0] not in NOT_JUDGED:
            yield name, module


def _stride_key(config: Mapping[str, Any], head: str) -> str:
    for key in _STRIDE_KEYS:
        if has_key(config, f"{head}.{key}"):
            return f"{head}.{key}"
    # The head's own default: FCOS and its kin have no generator in their config.
    generator = has_key(config, f"{head}.anchor_generator")
    return f"{head}.{'anchor_generator.strides' if generator else 'strides'}"


def _pair(stride: Any) -> Stride:
    return tuple(stride) if isinstance(stride, Sequence) else (stride, stride)
