"""Which maps of a detector are supervised, and how they are had during its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from fpn_necks.layers import check_int, check_list

LATERALS = "laterals"


@dataclass(frozen=True)
class SupervisedLevel:
    """A map inside a detector: C_i of the backbone or M_i of the neck's laterals.

    Attributes:
        name: ``"c2"`` to ``"c5"`` or ``"m2"`` ...: the number is log2 of the stride.
        module: path of the module that computes it, below the detector.
        index: its place in the module's output, None if it is the output.
        channels: its width.
        stride: pixels of the image per cell.
        is_frozen: the backbone's ``frozen_stages`` leaves nothing to train before it.
    """

    name: str
    module: str
    index: int | None
    channels: int
    stride: int
    is_frozen: bool = False

    @property
    def is_lateral(self) -> bool:
        """Whether it is a lateral's output."""
        return self.name.startswith("m")


def find_levels(
    detector: nn.Module,
    levels: Sequence[str] | str,
    in_channels: Sequence[int] | None = None,
    first_level: int | None = None,
) -> tuple[SupervisedLevel, ...]:
    """Find the maps to supervise in a built detector.

    Backbone outputs are numbered from ``out_indices``: stage 0, of stride 4, is C2, as
    in ResNet, Swin and PVT; ``first_level`` is for backbones that count otherwise.
    Stages that a ResNet computes without returning them (as in DC5) are found too.

    Args:
        detector: with a ``backbone``, and for laterals a ``neck``.
        levels: names such as ``["c2", "c3"]`` or ``["m3"]``, or ``"laterals"`` for all
            laterals of the neck.
        in_channels: widths of the levels, where the detector does not tell them.
        first_level: log2 of the stride of the backbone's first output (3 for a Darknet
            that returns strides 8, 16 and 32); each further one has twice the stride.

    Raises:
        TypeError: ``levels`` or ``in_channels`` has the wrong type.
        ValueError: a level does not exist in this detector, or its width is unknown.
    """
    if first_level is not None:
        check_int("first_level", first_level)
    laterals = _laterals(detector, first_level)
    if levels == LATERALS:
        if not laterals:
            raise ValueError(
                "levels='laterals' needs a neck with lateral_convs, and the detector "
                "has none; supervise backbone outputs such as 'c3'"
            )
        return tuple(laterals)
    names = check_list("levels, if not 'laterals',", levels)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"levels must be different and not empty, got {names}")
    if in_channels is not None:
        check_list("in_channels", in_channels, len(names))
    found = {x.name: x for x in [*laterals, *_stages(detector, first_level)]}
    result = []
    for i, name in enumerate(names):
        if name not in found:
            raise ValueError(
                f"levels names {name!r}, which this detector does not compute; it has "
                f"{', '.join(sorted(found))}"
            )
        channels = found[name].channels if in_channels is None else in_channels[i]
        if channels <= 0:
            raise ValueError(
                f"the width of {name} is not known; give in_channels, one per level "
                f"of {names}"
            )
        result.append(replace(found[name], channels=channels))
    return tuple(result)


@contextmanager
def record_features(
    detector: nn.Module, levels: Sequence[SupervisedLevel]
) -> Iterator[dict[str, Tensor]]:
    """Collect the maps of a forward pass that runs inside the ``with`` block.

    Forward hooks exist inside the block only: testing and tracing see none.

    Args:
        detector: whose maps are collected.
        levels: the maps.

    Yields:
        A dict that is filled: name of the level -> ``(N, C, H, W)``.

    Raises:
        RuntimeError: a lateral was changed in place behind its conv.
    """
    maps: dict[str, Tensor] = {}
    versions: dict[str, int] = {}

    def hook_for(level: SupervisedLevel) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # A module that is called again is supervised where it came first.
            if level.name not in maps:
                x = output if level.index is None else output[level.index]
                maps[level.name] = x
                if level.is_lateral:
                    versions[level.name] = x._version

        return keep

    with ExitStack() as stack:
        for level in levels:
            module = detector.get_submodule(level.module)
            handle = module.register_forward_hook(hook_for(level))
            stack.callback(handle.remove)
        yield maps
    for name, version in versions.items():
        if maps[name]._version != version:
            raise RuntimeError(
                f"the neck changed its lateral {name} in place: only necks that add to "
                "a new map can be supervised"
            )


def _stages(detector: nn.Module, first_level: int | None) -> list[SupervisedLevel]:
    """List C_i: what the backbone returns, then the stages that it does not return."""
    backbone = detector.backbone
    widths = _neck_widths(detector)
    # A backbone without this attribute (HRNet) returns all of its stages.
    outputs = list(getattr(backbone, "out_indices", range(len(widths))))
    frozen = getattr(backbone, "frozen_stages", -1)
    stages = [(stage, "backbone", place) for place, stage in enumerate(outputs)]
    for stage, name in enumerate(getattr(backbone, "res_layers", [])):
        if stage not in outputs:
            stages.append((stage, f"backbone.{name}", None))
    levels = []
    for stage, path, place in stages:
        number = stage + 2
        if first_level is not None and place is not None:
            number = first_level + place
        width = _stage_width(backbone, stage)
        if place is not None and place < len(widths):
            width = widths[place]
        levels.append(
            SupervisedLevel(f"c{number}", path, place, width, 2**number, stage < frozen)
        )
    return levels


def _neck_widths(detector: nn.Module) -> list[int]:
    neck = getattr(detector, "neck", None)
    if isinstance(neck, nn.Sequential):
        neck = neck[0]  # the others take what this one returns
    for module in neck.modules() if neck is not None else ():
        widths = getattr(module, "in_channels", None)
        if isinstance(widths, Sequence):
            return list(widths)
    return []


def _stage_width(backbone: nn.Module, stage: int) -> int:
    """Width of a ResNet's stage, which doubles from stage to stage; 0 if not one."""
    stages = len(getattr(backbone, "res_layers", []))
    if not stages:
        return 0
    if hasattr(backbone, "stage_widths"):  # RegNet
        return backbone.stage_widths[stage]
    return backbone.feat_dim >> (stages - 1 - stage)


def _laterals(detector: nn.Module, first_level: int | None) -> list[SupervisedLevel]:
    neck = getattr(detector, "neck", None)
    if neck is None:
        return []
    for path, module in neck.named_modules():
        convs = getattr(module, "lateral_convs", None)
        if not isinstance(convs, nn.ModuleList):
            continue
        outputs = list(getattr(detector.backbone, "out_indices", []))
        first = outputs[0] + 2 if outputs else 2
        first = first if first_level is None else first_level
        first += getattr(module, "start_level", 0)
        prefix = ".".join(part for part in ("neck", path, "lateral_convs") if part)
        width = getattr(module, "out_channels", 0)
        return [
            SupervisedLevel(
                f"m{first + i}",
                f"{prefix}.{i}",
                None,
                getattr(conv, "out_channels", width),
                2 ** (first + i),
            )
            for i, conv in enumerate(convs)
        ]
    return []
