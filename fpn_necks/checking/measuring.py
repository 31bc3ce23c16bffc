"""Building a model without memory for its weights, and measuring its maps."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fpn_necks.layers import StatisticFusionFactor

IMAGE_SIZE = (512, 768)
"""(height, width) in pixels of the image that is measured.

Multiples of 256, and not too small for detectors of one size such as SSD300.
"""

WRONG_WIDTH = re.compile(
    r"expected input\[.*?\] to have \d+ channels|Invalid channel dimensions"
)
"""What torch says of a conv that gets maps of another width, on any device."""


@dataclasses.dataclass(frozen=True)
class MapSize:
    """The shape of one map of an image of ``IMAGE_SIZE``.

    Args:
        channels: its width.
        height: rows.
        width: columns.
    """

    channels: int
    height: int
    width: int

    @property
    def stride(self) -> tuple[float, float]:
        """(x, y) in pixels of the image."""
        return tuple(
            pixels / cells if cells else float("inf")
            for pixels, cells in zip(
                reversed(IMAGE_SIZE), (self.width, self.height), strict=True
            )
        )


@dataclasses.dataclass
class Maps:
    """What came out of the parts of a detector, as far as the image came.

    Args:
        backbone: of the backbone; ``None`` if it failed.
        stages: of each stage of the neck that ran.
        outputs: what the heads get; ``None`` if something failed.
        error: what failed.
        device: where it was computed.
    """

    backbone: list[MapSize] | None = None
    stages: list[list[MapSize]] = dataclasses.field(default_factory=list)
    outputs: list[MapSize] | None = None
    error: Exception | None = None
    device: str = "meta"


class _WeightsOnMeta(TorchFunctionMode):
    """Takes memory for numbers, but none for uninitialised weights.

    Some constructors read numbers (the Swin Transformer its drop rates), which the meta
    device does not have; their weights come from ``torch.empty``.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        settings = dict(kwargs or {})
        if func is torch.empty:
            settings["device"] = "meta"
        return func(*args, **settings)


def build(config: Mapping[str, Any]) -> nn.Module:
    """Build a module of mmdet's registry with its weights on the meta device.

    Raises:
        Exception: whatever the constructor raises on the processor.
    """
    # In the order of their costs; the last one is how mmdet builds.
    for place in (torch.device("meta"), _WeightsOnMeta(), torch.device("cpu")):
        try:
            with place:
                # Constructors of mmdet change the dicts they get.
                module = MODELS.build(copy.deepcopy(config))
        except Exception as error:
            failure = error
            if not _lacks_numbers(error):
                break
        else:
            return _forget_numbers(module)
    raise failure


def measure(model: nn.Module) -> Maps:
    """Pass an image through backbone and neck.

    Args:
        model: a detector from ``build``; its mode is changed to evaluation. If an
            operator has no meta form, backbone and neck get weights of zero.
    """
    maps = _measure_on(model, "meta")
    if maps.error is not None and _lacks_numbers(maps.error):
        for part in (model.backbone, getattr(model, "neck", None)):
            if part is not None:
                _fill_with_zeros(part)
        maps = _measure_on(model, "cpu")
    return maps


def measure_neck(
    config: Mapping[str, Any] | Sequence[Mapping[str, Any]], inputs: Sequence[MapSize]
) -> list[MapSize] | None:
    """Return the sizes of a neck's maps for backbone maps; ``None`` if it fails.

    Args:
        config: of the neck, or of its stages.
        inputs: the sizes of the backbone's maps.
    """
    try:
        neck = build(config).eval()
        with torch.no_grad():
            return map_sizes(neck(meta_maps(inputs)))
    except Exception:  # a neck can fail in any way; then this setting is no way out
        return None


def meta_maps(sizes: Sequence[MapSize], images: int = 1) -> tuple[Tensor, ...]:
    """Return maps of these sizes without numbers."""
    return tuple(
        torch.empty(images, s.channels, s.height, s.width, device="meta") for s in sizes
    )


def map_sizes(output: Any) -> list[MapSize]:
    """Return the sizes of a module's maps; what else it returns is left out."""
    items = output if isinstance(output, list | tuple) else [output]
    return [
        MapSize(*item.shape[1:])
        for item in items
        if isinstance(item, Tensor) and item.ndim == 4
    ]


def _forget_numbers(module: nn.Module) -> nn.Module:
    module = module.to("meta")
    with torch.device("meta"):
        for part in module.modules():
            if isinstance(part, StatisticFusionFactor):
                # As if the hook had counted.
                part.set([1.0] * part.num_connections)
    return module


def _measure_on(model: nn.Module, device: str) -> Maps:
    maps = Maps(device=device)
    model.eval()
    image = torch.zeros(1, 3, *IMAGE_SIZE, device=device)
    with _recorded(model, maps), torch.no_grad():
        try:
            maps.outputs = map_sizes(model.extract_feat(image))
        # A model can fail in any way, and what it says of it is what we are after.
        except Exception as error:
            maps.error = error
    return maps


@contextlib.contextmanager
def _recorded(model: nn.Module, maps: Maps) -> Iterator[None]:
    def at_backbone(module: nn.Module, inputs: Any, output: Any) -> None:
        maps.backbone = map_sizes(output)

    def at_stage(module: nn.Module, inputs: Any, output: Any) -> None:
        maps.stages.append(map_sizes(output))

    handles = [model.backbone.register_forward_hook(at_backbone)]
    handles += [stage.register_forward_hook(at_stage) for stage in neck_stages(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def neck_stages(model: nn.Module) -> list[nn.Module]:
    """Return the stages of a detector's neck: none, one, or those of a list."""
    neck = getattr(model, "neck", None)
    if neck is None:
        return []
    return list(neck) if isinstance(neck, nn.Sequential) else [neck]


def _fill_with_zeros(module: nn.Module) -> None:
    module.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.zero_()


def _lacks_numbers(error: Exception) -> bool:
    """Tell what may be an operator without meta form from a fault of the model."""
    # Each library says it in its own words; what fails for another reason will fail
    # on the processor as well.
    if isinstance(error, RuntimeError):
        return not WRONG_WIDTH.search(str(error))
    return "meta" in str(error)
