"""Building a config's detector on the meta device, and measuring its maps."""

from __future__ import annotations

import contextlib
import copy
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.models.task_modules import SSDAnchorGenerator
from mmengine.config import Config
from torch import nn

from ..config_tools import build_without_weights, value_at, walk
from ..messages import one_line
from .maps import IMAGE_SIZE, Head, Maps, MapSize, map_sizes, meta_maps

LANGUAGE_MODEL = "language_model"
"""Key of a part that its constructor downloads; such detectors are not built."""

WRONG_WIDTH = re.compile(
    r"expected input\[.*?\] to have \d+ channels|Invalid channel dimensions"
)
"""What torch says of a conv that gets maps of another width, on any device."""

_DENSE_HEADS = re.compile(r"(rpn_head|bbox_head)(\..*)?")
# HTC's semantic extractor reads another map, that of its semantic head.
_EXTRACTORS = re.compile(r"roi_head\.(bbox|mask|grid|keypoint)_roi_extractor(\.\d+)?")
_STRIDES = ("anchor_generator.strides", "prior_generator.strides", "strides")
_STRIDES += ("point_strides",)


@dataclass
class Detector:
    """A config and what became of it.

    Args:
        config: the whole config.
        failed_imports: modules of ``custom_imports`` that fail -> the reason.
        model: on the meta device; ``None`` if it cannot be built. If the neck alone is
            at fault, it is the model without it.
        build_error: why the model cannot be built.
        failed_key: key of the part whose constructor failed.
        build_warnings: what constructors of this package warned of.
        maps: what came out of backbone and neck.
    """

    config: Config
    failed_imports: Mapping[str, str] = field(default_factory=dict)
    model: nn.Module | None = None
    build_error: Exception | None = None
    failed_key: str = "model"
    build_warnings: list[str] = field(default_factory=list)
    maps: Maps = field(default_factory=Maps)

    @property
    def neck_keys(self) -> list[str]:
        """Keys of the neck's stages: none, one, or one per item of a list."""
        neck = value_at(self.config, "model.neck")
        if isinstance(neck, list | tuple):
            return [f"model.neck.{i}" for i in range(len(neck))]
        return [] if neck is None else ["model.neck"]

    @property
    def stages(self) -> list[nn.Module]:
        """The stages of the built neck."""
        neck = getattr(self.model, "neck", None)
        if neck is None:
            return []
        return list(neck) if isinstance(neck, nn.Sequential) else [neck]

    @cached_property
    def heads(self) -> list[Head]:
        """Heads and RoI extractors with the strides that they expect."""
        heads: dict[str, Head] = {}
        for name, module in self.modules():
            strides: Any = None
            is_extractor = isinstance(module, BaseRoIExtractor)
            generator = getattr(module, "prior_generator", None)
            # The strides of SSD's anchors are those of one size of images.
            is_ssd = isinstance(generator, SSDAnchorGenerator)
            if is_extractor and _EXTRACTORS.fullmatch(name):
                strides = module.featmap_strides
            elif _DENSE_HEADS.fullmatch(name) and not is_ssd:
                strides = getattr(generator, "strides", None)
            key = self.key_of(name)
            if strides and isinstance(strides, list | tuple) and key is not None:
                key = (
                    f"{key}.featmap_strides" if is_extractor else self._stride_key(key)
                )
                pairs = tuple(s if isinstance(s, tuple) else (s, s) for s in strides)
                # One dict can describe several modules (stages of a Cascade R-CNN).
                heads.setdefault(key, Head(name, key, pairs, not is_extractor, module))
        return list(heads.values())

    @property
    def outputs(self) -> list[MapSize] | None:
        """What the heads get; ``None`` if building or running failed."""
        return None if self.build_error else self.maps.outputs

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

    def fitting_levels(self) -> dict[str, Any]:
        """Search levels of the neck's first stage that suit all heads.

        Each candidate is built and measured, so the advice is right by construction.

        Returns:
            Dotted key -> value; empty if nothing is to change, or no choice suits.
        """
        backbone, heads = self.maps.backbone, self.heads
        if not heads or not backbone or not self.neck_keys:
            return {}
        key = self.neck_keys[0]
        current = value_at(self.config, key)
        if not isinstance(current.get("in_channels"), list | tuple):
            return {}
        wanted = next((len(h.strides) for h in heads if h.reads_all), 0)
        first = current.get("start_level", 0)
        present = dict(start_level=0, end_level=-1) | dict(current)
        present["in_channels"] = list(current["in_channels"])
        for start in sorted(range(len(backbone)), key=lambda level: level != first):
            changes = dict(
                in_channels=[size.channels for size in backbone],
                start_level=start,
                num_outs=wanted or current.get("num_outs", len(backbone)),
                end_level=-1,
            )
            changes = {k: v for k, v in changes.items() if present.get(k) != v}
            neck = copy.deepcopy(self.config.model.neck)
            (neck[0] if isinstance(neck, list | tuple) else neck).update(changes)
            with contextlib.suppress(Exception), torch.no_grad():
                maps = map_sizes(
                    build_without_weights(neck).eval()(meta_maps(backbone))
                )
                if all(head.fits(maps) for head in heads):
                    return {f"{key}.{name}": v for name, v in changes.items()}
        return {}

    def _stride_key(self, head: str) -> str:
        for key in _STRIDES:
            if value_at(self.config, f"{head}.{key}") is not None:
                return f"{head}.{key}"
        # The head's own default: FCOS and its kin have no generator in their config.
        generator = value_at(self.config, f"{head}.anchor_generator") is not None
        return f"{head}.{_STRIDES[0] if generator else 'strides'}"


def examine(
    config: Config, failed_imports: Mapping[str, str] | None = None
) -> Detector:
    """Build the config's detector and measure its maps.

    Args:
        config: of a detector; what it imports must have been imported.
        failed_imports: see ``Detector``.
    """
    detector = Detector(config, failed_imports or {})
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
            _find_the_part(detector, settings, error)
    said = dict.fromkeys(str(warning.message) for warning in caught)
    detector.build_warnings = [text for text in said if "frozen_stages" in text]
    if detector.model is not None and detector.can_extract:
        detector.maps = _measure(detector)
    return detector


def error_words(detector: Detector) -> str:
    """Say why the detector cannot be built, in the config's words."""
    parts = (node for _, node in walk(detector.config))
    return one_line(detector.build_error, parts)


def _find_the_part(detector: Detector, settings: Any, error: Exception) -> None:
    """Find out which part failed; go on without the neck if it was the neck."""
    detector.build_error = error
    for key in (key for key in ("backbone", "neck") if settings.get(key) is not None):
        try:
            build_without_weights(settings[key])
        except Exception as failure:
            if str(failure) == str(error) or key == "neck":
                detector.build_error = failure
                detector.failed_key = f"model.{key}"
            break
    if detector.failed_key == "model.neck":
        with contextlib.suppress(Exception):  # not the neck alone: the next run tells
            detector.model = build_without_weights({**settings, "neck": None})


def _measure(detector: Detector) -> Maps:
    """Pass an image through backbone and neck, of 3 channels or what the stem takes."""
    model = detector.model
    model.eval()  # not every model of mmdet returns itself here
    convs = (m for m in model.backbone.modules() if isinstance(m, nn.Conv2d))
    channels = {3: None, getattr(next(convs, None), "in_channels", 3): None}
    for device in ("meta", "cpu"):
        for number in channels:
            maps = Maps(device=device)
            image = torch.zeros(1, number, *IMAGE_SIZE, device=device)
            with _recorded(detector, maps), torch.no_grad():
                try:
                    maps.outputs = map_sizes(model.extract_feat(image))
                    return maps
                # A model can fail in any way: its words are what we are after.
                except Exception as error:
                    maps.error = error
            if maps.backbone is not None:
                break  # it took the image
        # Each library says in its own words that an operator has no meta form.
        is_runtime = isinstance(maps.error, RuntimeError)
        wrong_width = WRONG_WIDTH.search(str(maps.error))
        if wrong_width if is_runtime else "meta" not in str(maps.error):
            break
        for part in (model.backbone, getattr(model, "neck", None)):
            if device == "meta" and part is not None:
                part.to_empty(device="cpu")
                for tensor in (*part.parameters(), *part.buffers()):
                    tensor.data.zero_()
    return maps


@contextlib.contextmanager
def _recorded(detector: Detector, maps: Maps) -> Iterator[None]:
    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        if module is detector.model.backbone:
            maps.backbone = map_sizes(output)
        else:
            maps.stages.append(map_sizes(output))

    with contextlib.ExitStack() as stack:
        for module in (detector.model.backbone, *detector.stages):
            stack.callback(module.register_forward_hook(record).remove)
        yield
