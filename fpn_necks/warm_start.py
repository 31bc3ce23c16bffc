"""Start a detector with one of our necks from the checkpoint of an FPN detector.

Most of our necks name their parameters as mmdet's ``FPN`` does, so that its weights
load; what a neck has beyond that starts anew, and what it lacks is left over. Which is
which must not be guessed from a silent ``strict=False``: ``WarmStartReport`` says it
per component.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from .checkpoints import read_checkpoint, state_dict_of

Checkpoint = str | os.PathLike[str] | Mapping[str, Any]

_STAGE = re.compile(r"neck\.(\d+)\.")
_COMPONENT = re.compile(r"neck\.(?:\d+\.)?\w+|roi_head\.\w+|\w+")


@dataclass(frozen=True)
class Mismatch:
    """An entry that both have, in different shapes; ``name`` is the model's."""

    name: str
    in_model: tuple[int, ...]
    in_checkpoint: tuple[int, ...]

    def __str__(self) -> str:
        """Say it in a line."""
        shapes = f"{self.in_model} in the model, {self.in_checkpoint} in the checkpoint"
        return f"{self.name}: {shapes}"


@dataclass
class WarmStartReport:
    """What became of the entries (parameters and buffers) of a model and a checkpoint.

    Every entry of the model is loaded, new or mismatched; every entry of the checkpoint
    is loaded, left over or mismatched.

    Args:
        loaded: name in the model -> name in the checkpoint.
        new: names in the model that the checkpoint does not have; they keep the
            model's values.
        left_over: name in the checkpoint -> the name it would have in the model, which
            does not have it.
        mismatched: entries of different shapes; they keep the model's values.
    """

    loaded: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    left_over: dict[str, str] = field(default_factory=dict)
    mismatched: list[Mismatch] = field(default_factory=list)

    def components(self) -> dict[str, dict[str, int]]:
        """Return the numbers of entries per component.

        Returns:
            Component (``backbone``, ``neck.lateral_convs``, ``roi_head.bbox_head``) ->
            how many of its entries are ``loaded``, ``new``, ``left over`` and
            ``mismatched``; the backbone and the neck come first.
        """
        names = {
            "loaded": self.loaded,
            "new": self.new,
            "left over": self.left_over.values(),
            "mismatched": [mismatch.name for mismatch in self.mismatched],
        }
        found = {key: Counter(map(component_of, names[key])) for key in names}
        components = sorted(
            set().union(*found.values()),
            key=lambda x: (x != "backbone", not x.startswith("neck"), x),
        )
        return {x: {key: found[key][x] for key in names} for x in components}

    def table(self) -> str:
        """Return the report as text: counts per component, then what did not load."""
        counts = self.components()
        columns = ("loaded", "new", "left over", "mismatched")
        counts["all"] = {x: sum(row[x] for row in counts.values()) for x in columns}
        width = max(map(len, counts))
        lines = [" " * width + "".join(f" {x:>10}" for x in columns)]
        for name, row in counts.items():
            numbers = (f" {row[x] or '-':>10}" for x in columns)
            lines.append(name.ljust(width) + "".join(numbers))
        for title, entries in (
            ("new, with the values of their initialisation", self.new),
            ("left over, in the checkpoint only", self.left_over),
            ("mismatched, not loaded", [str(x) for x in self.mismatched]),
        ):
            if entries:
                lines += ["", f"{title}:", *(f"  {entry}" for entry in entries)]
        return "\n".join(lines)


def load_fpn_detector(model: nn.Module, checkpoint: Checkpoint) -> WarmStartReport:
    """Load what fits of an FPN detector into the same detector with another neck.

    With a list of stages as neck, FPN's entries go to the first stage (``neck.0.``).

    Args:
        model: a detector of mmdet; initialise it first, what is new is not touched.
        checkpoint: a file as mmengine or mmdet writes it, or what it holds; loaded
            safely.

    Returns:
        What was loaded, new, left over and of another shape.

    Raises:
        TypeError: ``model`` is no module.
        OSError: the file cannot be read.
        ValueError: it is no checkpoint, or of a detector that shares nothing with this
            one.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    inner = model.module if is_model_wrapper(model) else model
    report, fitting = match_fpn_detector(inner, read_state_dict(checkpoint))
    inner.load_state_dict(fitting, strict=False)
    return report


def match_fpn_detector(
    model: nn.Module, state_dict: Mapping[str, Tensor]
) -> tuple[WarmStartReport, dict[str, Tensor]]:
    """Find out what of an FPN detector fits a model, without loading it.

    Args:
        model: the detector; its weights may be on the meta device.
        state_dict: of the FPN detector.

    Returns:
        The report, and the fitting entries under the names of the model.

    Raises:
        ValueError: nothing fits.
    """
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    move = _neck_move(own, state_dict)
    report = WarmStartReport()
    fitting: dict[str, Tensor] = {}
    for old, tensor in state_dict.items():
        name = move(old)
        if name not in own:
            report.left_over[old] = name
        elif own[name] != tuple(tensor.shape):
            report.mismatched.append(Mismatch(name, own[name], tuple(tensor.shape)))
        else:
            report.loaded[name] = old
            fitting[name] = tensor
    met = {*report.loaded, *(mismatch.name for mismatch in report.mismatched)}
    report.new = [name for name in own if name not in met]
    if not fitting:
        raise ValueError(
            "nothing of the checkpoint fits the model: its entries are like "
            f"{next(iter(state_dict))!r}, those of the model like {next(iter(own))!r}"
        )
    return report, fitting


def component_of(name: str) -> str:
    """Return the component of an entry, such as ``neck.0.fpn_convs``."""
    found = _COMPONENT.match(name)
    return found[0] if found else name


def read_state_dict(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights of a file or of its content, see ``state_dict_of``."""
    if isinstance(checkpoint, Mapping):
        return state_dict_of(checkpoint, "the checkpoint")
    return state_dict_of(read_checkpoint(checkpoint), str(checkpoint))


def _neck_move(
    own: Mapping[str, Any], state_dict: Mapping[str, Any]
) -> Callable[[str], str]:
    """Return the renaming from the checkpoint's stages of the neck to the model's."""

    def has_stages(names: Mapping[str, Any]) -> bool:
        necks = [name for name in names if name.startswith("neck.")]
        return bool(necks) and all(_STAGE.match(name) for name in necks)

    old, new = has_stages(state_dict), has_stages(own)
    if old == new:
        return lambda name: name
    if new:
        return lambda name: re.sub(r"^neck\.", "neck.0.", name)
    return lambda name: re.sub(r"^neck\.0\.", "neck.", name)
