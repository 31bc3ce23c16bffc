"""Building a config's detector on the meta device, and measuring its maps."""

from __future__ import annotations

import contextlib
import copy
import importlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.models.task_modules import SSDAnchorGenerator
from mmengine.config import Config
from torch import Tensor, nn

from ..config_tools import build_without_weights, value_at, walk

IMAGE_SIZE = (512, 768)
"""(height, width) in pixels: multiples of 256, not too small for SSD300."""

LANGUAGE_MODEL = "language_model"
"""Key of a part that its constructor downloads; such detectors are not built."""

_WRONG_WIDTH = re.compile(
    r"expected input\[.*?\] to have \d+ channels|Invalid channel dimensions"
)
_DENSE_HEADS = re.compile(r"(rpn_head|bbox_head)(\..*)?")
# HTC's semantic extractor reads another map, that of its semantic head.
_EXTRACTORS = re.compile(r"roi_head\.(bbox|mask|grid|keypoint)_roi_extractor(\.\d+)?")
_STRIDES = ("anchor_generator.strides", "prior_generator.strides", "point_strides")


@dataclass(frozen=True)
class MapSize:
    """The shape of one map of an image of ``IMAGE_SIZE``."""

    channels: int
    height: int
    width: int

    @property
    def stride(self) -> float:
        """In pixels of the image."""
        stride = round(IMAGE_SIZE[1] / max(self.width, 1), 2)
        return int(stride) if stride.is_integer() else stride


@dataclass(frozen=True)
class Head:
    """A dense head or RoI extractor that says which strides it expects.

    Args:
        name: in ``model.named_modules()``.
        key: the config key of its strides.
        strides: in pixels, one per map.
        module: the module itself.
    """

    name: str
    key: str
    strides: tuple[float, ...]
    module: nn.Module

    @property
    def reads_all(self) -> bool:
        """Whether it reads every map; an RoI extractor reads the first ones."""
        return not isinstance(self.module, BaseRoIExtractor)

    def fits(self, maps: Sequence[MapSize]) -> bool:
        """Tell whether its strides are those of the maps."""
        if len(self.strides) > len(maps):
            return False
        if self.reads_all and len(self.strides) != len(maps):
            return False
        return all(
            # Maps of one or two cells say little about their stride, and some networks
            # (SSD) lose a column or two. Wrong levels are off by a factor of two.
            x.width <= 2 or 1 / 1.5 < x.stride / expected < 1.5
            for expected, x in zip(self.strides, maps, strict=False)
        )


@dataclass
class Detector:
    """A config and what became of it.

    Args:
        config: the whole config.
        failed_imports: modules of ``custom_imports`` that fail -> the reason.
        model: on the meta device; ``None`` if it cannot be built.
        error: why it cannot be built or run.
        failed_key: key of the part whose constructor failed.
        warnings: what constructors of this package warned of.
        device: where an image went through backbone and neck.
        backbone: sizes of its maps; ``None`` if it failed.
        stages_run: how many stages of the neck ran.
        outputs: sizes of the maps that the heads get; ``None`` if something failed.
    """

    config: Config
    failed_imports: dict[str, str] = field(default_factory=dict)
    model: nn.Module | None = None
    error: Exception | None = None
    failed_key: str = "model"
    warnings: list[str] = field(default_factory=list)
    device: str = "meta"
    backbone: list[MapSize] | None = None
    stages_run: int = 0
    outputs: list[MapSize] | None = None

    @property
    def neck_keys(self) -> list[str]:
        """Keys of the neck's stages: none, one, or one per item of a list."""
        neck = value_at(self.config, "model.neck")
        if isinstance(neck, list | tuple):
            return [f"model.neck.{i}" for i in range(len(neck))]
        return [] if neck is None else ["model.neck"]

    @property
    def neck(self) -> list[nn.Module]:
        """The stages of the built neck."""
        neck = getattr(self.model, "neck", None)
        if neck is None:
            return []
        return list(neck) if isinstance(neck, nn.Sequential) else [neck]

    @property
    def heads(self) -> list[Head]:
        """Heads and RoI extractors with the strides that they expect."""
        heads: dict[str, Head] = {}
        for name, module in self.modules():
            key, strides = self.key_of(name), None
            generator = getattr(module, "prior_generator", None)
            if isinstance(module, BaseRoIExtractor) and _EXTRACTORS.fullmatch(name):
                strides = module.featmap_strides
                stride_key = "featmap_strides"
            # The strides of SSD's anchors are those of one size of images.
            elif _DENSE_HEADS.fullmatch(name) and not isinstance(
                generator, SSDAnchorGenerator
            ):
                strides = getattr(generator, "strides", None)
                node = value_at(self.config, key or "")
                # FCOS and its kin have no generator in their config.
                written = (x for x in _STRIDES if value_at(node, x) is not None)
                stride_key = next(written, "strides")
            if key and strides and isinstance(strides, list | tuple):
                key = f"{key}.{stride_key}"
                single = tuple(s[0] if isinstance(s, tuple) else s for s in strides)
                # One dict can describe several modules (stages of a Cascade R-CNN).
                heads.setdefault(key, Head(name, key, single, module))
        return list(heads.values())

    @property
    def can_extract(self) -> bool:
        """Whether it is a detector that this knows how to run."""
        return hasattr(self.model, "backbone") and hasattr(self.model, "extract_feat")

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the named modules but for auxiliary heads, which have own rules."""
        model = nn.Identity() if self.model is None else self.model
        for name, module in model.named_modules():
            if name and name.split(".")[0] != "auxiliary":
                yield name, module

    def key_of(self, module_name: str) -> str | None:
        """Return the config key that a module of the model was built from.

        Without the index of a module that one dict describes several times.
        """
        key = "model"
        for part in module_name.split("."):
            node = value_at(self.config, key)
            if value_at(node, part) is not None:
                key = f"{key}.{part}"
            elif not (part.isdigit() and isinstance(node, Mapping)):
                return None
        return key


def import_names(config: Mapping[str, Any]) -> list[str]:
    """Return the modules that the config's ``custom_imports`` name."""
    imports = value_at(config, "custom_imports.imports") or []
    return [imports] if isinstance(imports, str) else list(imports)


def meta_maps(sizes: Sequence[MapSize]) -> tuple[Tensor, ...]:
    """Return maps of these sizes without numbers."""
    return tuple(
        torch.empty(1, s.channels, s.height, s.width, device="meta") for s in sizes
    )


def examine(config: Config) -> Detector:
    """Import what a config names, build its detector and measure its maps."""
    detector = Detector(config)
    for name in import_names(config):
        try:
            importlib.import_module(name)
        # A module of the user's can fail in any way.
        except Exception as error:
            detector.failed_imports[name] = f"{type(error).__name__}: {error}"
    settings = config.get("model")
    if not isinstance(settings, Mapping) or LANGUAGE_MODEL in settings:
        return detector
    settings = copy.deepcopy(settings)
    for _, node in walk(settings):
        if "teacher_ckpt" in node:
            node["teacher_ckpt"] = None  # its constructor would download it
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            detector.model = build_without_weights(settings)
        # A constructor can fail in any way; the rules say what it means.
        except Exception as error:
            detector.error = error
            _find_the_part(detector, settings)
    said = dict.fromkeys(str(warning.message) for warning in caught)
    detector.warnings = [text for text in said if "frozen_stages" in text]
    if detector.can_extract:
        _measure(detector)
    return detector


def _find_the_part(detector: Detector, settings: Mapping[str, Any]) -> None:
    for part in ("backbone", "neck"):
        try:
            if settings.get(part) is not None:
                build_without_weights(settings[part])
        except Exception as error:
            detector.error, detector.failed_key = error, f"model.{part}"
            return


def _measure(detector: Detector) -> None:
    """Pass an image through backbone and neck."""
    model = detector.model
    model.eval()  # not every model of mmdet returns itself here
    channels = value_at(detector.config, "model.backbone.in_channels", 3)
    for device in ("meta", "cpu"):
        detector.device, detector.error = device, None
        detector.backbone, detector.stages_run = None, 0
        image = torch.zeros(1, channels, *IMAGE_SIZE, device=device)
        try:
            with _recorded(detector), torch.no_grad():
                detector.outputs = _map_sizes(model.extract_feat(image))
            return
        # A model can fail in any way: its words are what we are after.
        except Exception as error:
            detector.error = error
        # Each library says in its own words that an operator has no meta form.
        said = str(detector.error)
        is_runtime = isinstance(detector.error, RuntimeError)
        if _WRONG_WIDTH.search(said) if is_runtime else "meta" not in said:
            return
        for part in (model.backbone, getattr(model, "neck", None)):
            if device == "meta" and part is not None:
                part.to_empty(device="cpu")
                for tensor in (*part.parameters(), *part.buffers()):
                    tensor.data.zero_()


@contextlib.contextmanager
def _recorded(detector: Detector) -> Iterator[None]:
    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        if module is detector.model.backbone:
            detector.backbone = _map_sizes(output)
        else:
            detector.stages_run += 1

    with contextlib.ExitStack() as stack:
        for module in (detector.model.backbone, *detector.neck):
            stack.callback(module.register_forward_hook(record).remove)
        yield


def _map_sizes(output: Any) -> list[MapSize]:
    items = output if isinstance(output, list | tuple) else [output]
    return [
        MapSize(*item.shape[1:])
        for item in items
        if isinstance(item, Tensor) and item.ndim == 4
    ]
