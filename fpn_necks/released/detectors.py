"""Whole detectors of the authors, converted to the same ones with our modules.

The modules that the authors wrote go through ``released.convert``; what changed between
their mmdet and version 3 around them is done here. ``docs/released_checkpoints.md``
says what that is, and what no change of weights can do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..checkpoints import read_checkpoint, state_dict_of, write_checkpoint
from ..io import is_same_file
from . import checked_names, find_method
from .method import conv_module

MMDET = {"backbone", "neck", "rpn_head", "bbox_head"}
PARTS = {
    "own": {"module_list", *(f"level_{i}_fusion" for i in range(3)), "level_0_conv"},
    "mmdet 1": {*MMDET, "mask_head", "bbox_roi_extractor", "mask_roi_extractor"},
    "mmdet 2": {*MMDET, "roi_head"},
}
"""The parts of a detector in each code base: the first words of its names."""

AUXILIARY = "auxiliary_"  # begins the names of what consistent supervision trained with

ROI_PARTS = ("bbox_head.", "mask_head.", "bbox_roi_extractor.", "mask_roi_extractor.")
EXTRACTOR = re.compile(r"(bbox|mask)_roi_extractor\.(\d+\.)?")
ROI_LAYER = re.compile(
    r"(rpn|mask)_head\.|(bbox|mask)_roi_extractor\.|bbox_head\..*fc_cls"
)
FPN = re.compile(r"neck\.(lateral|fpn)_convs\.\d+\.")
CLASS_LAYER = re.compile(r"(.+)\.(fc_cls|fc_reg|conv_logits)\.(?:weight|bias)")
FCOS_LAYER = re.compile(r"^(bbox_head)\.fcos_(cls|reg|centerness)(?=\.)")
PLAIN_CONV = re.compile(r"^(bbox_head\.(?:cls|reg)_convs\.\d+)\.(weight|bias)$")

OLD_COORDINATES = (
    "These weights learned mmdet 1's coordinates: widths are x2 - x1 + 1, anchors are "
    "whole numbers, RoIAlign is another. A config that keeps to them needs "
    "LegacyAnchorGenerator (center_offset=0.5) and LegacyDeltaXYWHBBoxCoder in each "
    "head with anchors, legacy=True in the SoftRoIExtractor's roi_layer and offset=1 "
    "in nms; the lines are in docs/released_checkpoints.md."
)
CAFFE_BACKBONE = (
    "The authors' FCOS has a backbone of the caffe kind, which loads into one of the "
    "other kind as well, with wrong results. The config needs style='caffe' and BGR "
    "images; the lines are in docs/released_checkpoints.md."
)
SOFTMAX_RPN = (
    "The RPN has a softmax: its channels now are (object, background) as in mmdet 2.5 "
    "and later. The config needs loss_cls.use_sigmoid=False in rpn_head."
)
BACKGROUND = (
    "The background was class 0 and now is the last: fc_cls is reordered; the "
    "background's part of fc_reg and conv_logits, which nothing reads, is gone."
)


@dataclass
class Conversion:
    """What became of a released state dict."""

    state_dict: dict[str, Tensor] = field(default_factory=dict)
    """The entries under our names."""
    converted: dict[str, str] = field(default_factory=dict)
    """Released name and ours of the entries that were renamed or changed."""
    kept: list[str] = field(default_factory=list)
    """Names of the entries that are as they were."""
    dropped: list[str] = field(default_factory=list)
    """Released names of the entries that have no place in our detector."""
    notes: list[str] = field(default_factory=list)
    """What the weights alone do not tell."""

    def add(self, released: str, ours: str, tensor: Tensor, changed: bool) -> None:
        """Take over an entry, or raise a ValueError if there is one of that name."""
        if ours in self.state_dict:
            raise ValueError(f"several entries would become {ours!r}, {released!r} too")
        self.state_dict[ours] = tensor
        if changed or ours != released:
            self.converted[released] = ours
        else:
            self.kept.append(released)

    def add_module(
        self, method: str, state: Mapping[str, Tensor], released: str, ours: str
    ) -> None:
        """Take over a module of the authors; the last two are prefixes of its names."""
        below = [x.removeprefix(released) for x in state if x.startswith(released)]
        try:
            names = checked_names(method, below)
        except ValueError as error:
            where = f"entries {released}*: " if released else ""
            raise ValueError(f"{where}{error}") from None
        for old in below:
            name = released + old
            self.add(name, ours + names[old], state[name], changed=True)

    def report(self) -> str:
        """Return the counts, the dropped names and the notes as text."""
        parts = Counter(".".join(x.split(".")[:2]) for x in self.converted.values())
        lines = [f"converted: {len(self.converted)} entries, renamed or changed"]
        lines += [f"  {part}: {number}" for part, number in sorted(parts.items())]
        lines += [f"kept: {len(self.kept)} entries"]
        lines += [f"dropped: {len(self.dropped)} entries"]
        lines += [f"  {name}" for name in self.dropped]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def convert_checkpoint(
    method: str, source: Path, target: Path, overwrite: bool = False
) -> Conversion:
    """Convert a checkpoint file; of a training run only ``meta`` is kept.

    Args:
        method: one of ``METHODS``.
        source: file of a dict with ``state_dict``, or of a state dict.
        target: file to write.
        overwrite: whether ``target`` may exist.

    Raises:
        OSError: a file cannot be read or written; or ``target`` exists, or it is
            ``source``.
        ValueError: ``source`` is no checkpoint, or not one of this method.
    """
    if is_same_file(target, source):
        raise FileExistsError(f"{target} is the released checkpoint itself")
    checkpoint = read_checkpoint(source)
    conversion = convert_detector(method, state_dict_of(checkpoint, str(source)))
    if "state_dict" not in checkpoint:
        checkpoint = dict(state_dict=checkpoint)
    others = sorted(map(str, set(checkpoint) - {"state_dict", "meta"}))
    if others:
        conversion.notes.append(f"Not written to the new file: {', '.join(others)}.")
    meta = checkpoint.get("meta") or {}
    content = dict(meta=meta, state_dict=conversion.state_dict)
    write_checkpoint(content, target, overwrite)
    return conversion


def convert_detector(method: str, state_dict: Mapping[str, Tensor]) -> Conversion:
    """Convert the state dict of a released detector, or of the released class alone.

    Args:
        method: one of ``METHODS``.
        state_dict: of the detector; the names may begin with ``module.``.

    Raises:
        ValueError: the method is unknown; or entries are missing or unknown, all of
            which the message lists.
    """
    layout = find_method(method).layout
    state = state_dict_of(state_dict, "the checkpoint")
    conversion = Conversion()
    if not PARTS[layout] & {name.split(".")[0] for name in state}:
        conversion.add_module(method, state, "", "")
    elif layout == "own":
        _convert_asff(state, conversion)
    else:
        _convert_mmdet(method, state, conversion)
    return conversion


def _convert_asff(state: dict[str, Tensor], conversion: Conversion) -> None:
    """Convert the ASFF stage of YOLOv3, with the conv before its finest input."""
    if "level_0_conv.weight_levels.weight" in state:
        raise ValueError(
            "this is the MobileNet variant of ASFF, which has other resizing and other "
            "activations; only the one behind DarkNet-53 is converted"
        )
    if not any(name.startswith("level_0_fusion.") for name in state):
        raise ValueError(
            "there is no ASFF in it (level_0_fusion.*), as in the baseline"
        )
    lead = conv_module("module_list.32", "lead_convs.2", True, "batch_norm")
    missing = sorted(x for x in set(lead) - set(state) if "num_batches" not in x)
    if missing:
        raise ValueError(f"missing {missing}")
    for level in range(3):
        prefix = f"level_{level}_fusion."
        conversion.add_module("asff", state, prefix, f"fusions.{level}.")
    for released, ours in lead.items():
        if released in state:
            conversion.add(released, ours, state[released], changed=True)
    conversion.dropped += [name for name in state if name not in conversion.converted]
    squeezed = state["level_0_fusion.weight_levels.weight"].shape[1] // 3
    conversion.notes.append(
        "The new file holds the ASFF stage alone. DarkNet-53 with SPP and the heads "
        "with guided anchors are dropped: mmdet's YOLOv3 is another architecture, in "
        "which their weights have no place. The stage is "
        "ASFF(in_channels=[512, 256, 128], out_channels=[1024, 512, 256], "
        "lead_channels=[None, None, 256], order='coarse_to_fine', "
        f"compress_channels={squeezed}); "
        "init_cfg=dict(type='Pretrained', checkpoint=FILE) loads it in a config."
    )


def _convert_mmdet(
    method: str, state: dict[str, Tensor], conversion: Conversion
) -> None:
    """Convert the authors' modules, and what mmdet changed since around them."""
    layout = find_method(method).layout
    modules = _released_modules(method, state)
    rest, unknown = {}, []
    for name, tensor in state.items():
        part = name.split(".")[0]
        if layout == "mmdet 1" and part.startswith(AUXILIARY):
            conversion.dropped.append(name)
        elif name.startswith(tuple(modules)):
            continue
        elif part not in PARTS[layout] or (part == "neck" and not FPN.match(name)):
            unknown.append(name)
        else:
            rest[name] = tensor
    if unknown:
        raise ValueError(f"no part of a detector with the released {method}: {unknown}")

    two_stage = any(ROI_LAYER.match(name) for name in state)
    for prefix, its_method in modules.items():
        moved = two_stage and prefix != "neck."
        ours = f"roi_head.{prefix}" if moved else prefix
        conversion.add_module(its_method, state, prefix, ours)
    softmax_rpn = _has_softmax_rpn(state)
    for name, tensor in rest.items():
        new = tensor
        if layout == "mmdet 1":
            new = _move_background(name, tensor, state)
        if softmax_rpn and name.startswith("rpn_head.rpn_cls."):
            new = tensor.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        ours = PLAIN_CONV.sub(r"\1.conv.\2", FCOS_LAYER.sub(r"\1.conv_\2", name))
        if two_stage and layout == "mmdet 1" and name.startswith(ROI_PARTS):
            ours = f"roi_head.{ours}"
        conversion.add(name, ours, new, changed=new is not tensor)

    if any(FCOS_LAYER.match(name) for name in rest):
        conversion.notes.append(CAFFE_BACKBONE)
    if softmax_rpn:
        conversion.notes.append(SOFTMAX_RPN)
    if layout == "mmdet 1":
        with_classes = any(CLASS_LAYER.fullmatch(name) for name in rest)
        conversion.notes += [BACKGROUND] if with_classes else []
        conversion.notes.append(OLD_COORDINATES)


def _released_modules(method: str, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the prefixes of the authors' modules, with the method of each."""
    modules = {} if method == "soft-roi" else {"neck.": method}
    if find_method(method).layout == "mmdet 1":
        extractors = (EXTRACTOR.match(name) for name in state)
        modules |= {found[0]: "soft-roi" for found in extractors if found}
    if not modules:
        raise ValueError("there is no SoftRoIExtractor in it (bbox_roi_extractor.*)")
    return modules


def _move_background(name: str, tensor: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """Return the entry with the background as last class instead of as class 0."""
    found = CLASS_LAYER.fullmatch(name)
    if not found:
        return tensor
    head, layer = found.groups()
    if layer == "fc_cls":
        return tensor.roll(-1, 0)
    if layer == "conv_logits" and len(tensor) > 1:  # one: the same for all classes
        return tensor[1:].clone()
    if layer == "fc_reg" and len(tensor) > 4:
        scores = state.get(f"{head}.fc_cls.weight")
        if scores is None or len(tensor) != 4 * len(scores):
            raise ValueError(
                f"{name} must have 4 rows, or 4 for every row of {head}.fc_cls.weight, "
                f"has {len(tensor)}"
            )
        return tensor[4:].clone()
    return tensor


def _has_softmax_rpn(state: Mapping[str, Tensor]) -> bool:
    """Tell whether the RPN gives two scores per anchor, beside four coordinates."""
    scores = state.get("rpn_head.rpn_cls.weight")
    boxes = state.get("rpn_head.rpn_reg.weight")
    return scores is not None and boxes is not None and 2 * len(scores) == len(boxes)
