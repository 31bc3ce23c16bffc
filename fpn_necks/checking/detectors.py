"""What the judges judge: a config, and what its detector does when it is built."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import nn

from .config_files import one_line
from .config_keys import stage_keys, value_at, walk
from .measuring import Maps, MapSize, build, measure
from .readers import Reader, find_readers

LANGUAGE_MODEL = "language_model"
"""Key of a part that its constructor downloads; such detectors are not built."""


@dataclasses.dataclass
class Detector:
    """A config and what became of it.

    Args:
        config: the whole config.
        failed_imports: modules of ``custom_imports`` that cannot be imported, with
            the reason.
        model: on the meta device; ``None`` if it cannot be built. If the neck alone is
            at fault, it is the model without it.
        build_error: why the model cannot be built.
        failed_key: key of the part whose constructor failed.
        maps: what came out of backbone and neck.
    """

    config: Config
    failed_imports: Mapping[str, str] = dataclasses.field(default_factory=dict)
    model: nn.Module | None = None
    build_error: Exception | None = None
    failed_key: str = "model"
    maps: Maps = dataclasses.field(default_factory=Maps)

    @property
    def neck_keys(self) -> list[str]:
        """Keys of the neck's stages."""
        return stage_keys(self.config)

    @functools.cached_property
    def readers(self) -> list[Reader]:
        """Heads and RoI extractors, with the strides that they expect."""
        return [] if self.model is None else find_readers(self.model, self.config)

    @property
    def outputs(self) -> list[MapSize] | None:
        """What the heads get; ``None`` if building or running failed."""
        return None if self.build_error else self.maps.outputs

    @property
    def can_extract(self) -> bool:
        """Whether it is a detector that this knows how to run."""
        return hasattr(self.model, "backbone") and hasattr(self.model, "extract_feat")

    def neck_config(self) -> Any:
        """Return the neck's config, of one's own to change; ``None`` without a neck."""
        return copy.deepcopy(value_at(self.config, "model.neck"))


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
    try:
        detector.model = build(_without_downloads(settings))
    # A constructor can fail in any way; the judges say what it means.
    except Exception as error:
        _find_the_part(detector, error)
    if detector.model is not None and detector.can_extract:
        detector.maps = measure(detector.model)
    return detector


def _find_the_part(detector: Detector, error: Exception) -> None:
    """Find out which part failed; go on without the neck if it was the neck."""
    settings = detector.config.model
    detector.build_error = error
    for key in ("backbone", "neck"):
        part = settings.get(key)
        if part is None:
            continue
        try:
            build(part)
        except Exception as failure:
            if one_line(failure) == one_line(error) or key == "neck":
                detector.build_error = failure
                detector.failed_key = f"model.{key}"
            break
    if detector.failed_key == "model.neck":
        rest = _without_downloads(settings)
        rest.neck = None
        try:
            detector.model = build(rest)
        except Exception:  # not the neck alone: a further run will tell
            return


def _without_downloads(settings: Any) -> Any:
    """Return a copy whose constructors fetch no weights (distillation)."""
    settings = copy.deepcopy(settings)
    for _, node in walk(settings):
        if "teacher_ckpt" in node:
            node["teacher_ckpt"] = None
    return settings
