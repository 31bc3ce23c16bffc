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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from .checkpoints import read_checkpoint, state_dict_of

Checkpoint = str | os.PathLike[str] | Mapping[str, Any]


class Mismatch(NamedTuple):
    """An entry that both have, in different shapes; ``name`` is the model's."""

    name: str
    in_model: tuple[int, ...]
    in_checkpoint: tuple[int, ...]


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
        found = {
            "loaded": Counter(map(component_of, self.loaded)),
            "new": Counter(map(component_of, self.new)),
            "left over": Counter(map(component_of, self.left_over.values())),
            "mismatched": Counter(component_of(x.name) for x in self.mismatched),
        }
        components = sorted(
            set().union(*found.values()),
            key=lambda x: (x != "backbone", not x.startswith("neck"), x),
        )
        return {x: {kind: found[kind][x] for kind in found} for x in components}

    def table(self) -> str:
        """Return the report as text: counts per component, then what did not load."""
        counts = self.components()
        columns = ("loaded", "new", "left over", "mismatched")
        counts["all"] = {x: sum(row[x] for row in counts.values()) for x in columns}
        width = max(map(len, counts))
        lines = [" " * width + "".join(f" {x:>10}" for x in columns)]
        for name, row in counts.items():
            lines.append(
                name.ljust(width) + "".join(f" {n or '-':>10}" for n in row.values())
            )
        shapes = [
            f"{x.name}: {x.in_model} in the model, {x.in_checkpoint} in the checkpoint"
            for x in self.mismatched
        ]
        for title, entries in (
            ("new, with the values of their initialisation", self.new),
            ("left over, in the checkpoint only", self.left_over),
            ("mismatched, not loaded", shapes),
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
        OSError: the file cannot be read.
        ValueError: it is no checkpoint, or of a detector that shares nothing with this
            one.
    """
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
    report = WarmStartReport()
    fitting: dict[str, Tensor] = {}
    for old, name in _renamed(state_dict, own).items():
        shape = tuple(state_dict[old].shape)
        if name not in own:
            report.left_over[old] = name
        elif own[name] != shape:
            report.mismatched.append(Mismatch(name, own[name], shape))
        else:
            report.loaded[name] = old
            fitting[name] = state_dict[old]
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
    found = re.match(r"neck\.(?:\d+\.)?\w+|roi_head\.\w+|\w+", name)
    return found[0] if found else name


def read_state_dict(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights of a file or of its content, see ``state_dict_of``."""
    if isinstance(checkpoint, Mapping):
        return state_dict_of(checkpoint, "the checkpoint")
    return state_dict_of(read_checkpoint(checkpoint), str(checkpoint))


def _renamed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return the checkpoint's names and those of the model's stages of the neck."""

    def has_stages(names: Mapping[str, Any]) -> bool:
        necks = [name for name in names if name.startswith("neck.")]
        return bool(necks) and all(re.match(r"neck\.\d+\.", name) for name in necks)

    one, other = ("neck.0." if has_stages(names) else "neck." for names in (old, new))
    return {
        name: other + name.removeprefix(one) if name.startswith(one) else name
        for name in old
    }
