"""Do heads and RoI extractors have the width of the maps?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..config_files import one_line
from ..config_keys import key_of_module
from ..detectors import Detector
from ..findings import Finding
from ..measuring import WRONG_WIDTH, MapSize, meta_maps
from ..readers import Reader

_ROI_HEADS = re.compile(r"roi_head\.(bbox|mask|grid|keypoint)_head(\.\d+)?")


def judge_channels(detector: Detector) -> list[Finding]:
    """Judge ``in_channels`` of heads and ``out_channels`` of RoI extractors."""
    maps = detector.outputs
    if not maps:
        return []
    findings: dict[str, Finding] = {}
    for reader in detector.readers:
        judge = _dense_head if reader.reads_all else _extractor
        for finding in judge(detector, reader, maps):
            findings.setdefault(finding.key, finding)
    for finding in _roi_heads(detector, maps):
        findings.setdefault(finding.key, finding)
    return list(findings.values())


def _dense_head(
    detector: Detector, reader: Reader, maps: list[MapSize]
) -> Iterator[Finding]:
    """Run the head; where an operator has no meta form, ask for its argument."""
    key = key_of_module(detector.config, reader.name)
    widths: Any = [size.channels for size in maps]
    argument = getattr(reader.module, "in_channels", None)
    if not isinstance(argument, Sequence) and len(set(widths)) == 1:
        widths = widths[0]
    if argument is None or isinstance(argument, str) or _same(argument, widths):
        return
    try:
        with torch.no_grad():
            reader.module.eval()(meta_maps(maps))
    # It has another width than its argument says (or only the first maps matter).
    except Exception as error:
        message = str(error)
        if not (WRONG_WIDTH.search(message) or "meta" in message.lower()):
            yield Finding(
                "note",
                f"{key}.in_channels",
                f"{reader.kind} could not be run on the maps: {one_line(error)}",
            )
            return
        yield Finding(
            "error",
            f"{key}.in_channels",
            f"{reader.kind} expects {argument} channels; the maps have {widths}",
            "take the width of the maps",
            {f"{key}.in_channels": widths},
        )


def _extractor(
    detector: Detector, reader: Reader, maps: list[MapSize]
) -> Iterator[Finding]:
    read = {size.channels for size in maps[: len(reader.strides)]}
    expected = reader.module.out_channels
    if getattr(reader.module, "aggregation", None) == "concat" or read == {expected}:
        return
    key = key_of_module(detector.config, reader.name)
    yield Finding(
        "error",
        f"{key}.out_channels",
        f"{reader.kind} expects {expected} channels; the maps have {sorted(read)}",
        "take the width of the maps",
        {f"{key}.out_channels": min(read)} if len(read) == 1 else {},
    )


def _roi_heads(detector: Detector, maps: list[MapSize]) -> Iterator[Finding]:
    """Judge the heads behind RoI extractors that hand on the width of the maps."""
    extractors = [reader for reader in detector.readers if not reader.reads_all]
    widths = {size.channels for size in maps}
    roi_head = getattr(detector.model, "roi_head", None)
    handed_on = all(
        getattr(reader.module, "aggregation", None) != "concat" for reader in extractors
    )
    shared = getattr(roi_head, "with_shared_head", False)
    if not extractors or len(widths) != 1 or shared or not handed_on:
        return
    (width,) = widths
    for name, module in detector.model.named_modules():
        expected = getattr(module, "in_channels", None)
        key = (
            key_of_module(detector.config, name) if _ROI_HEADS.fullmatch(name) else None
        )
        if key is None or not isinstance(expected, int) or expected == width:
            continue
        yield Finding(
            "error",
            f"{key}.in_channels",
            f"{type(module).__name__} expects {expected} channels; the maps have "
            f"{width}",
            "take the width of the maps",
            {f"{key}.in_channels": width},
        )


def _same(argument: Any, widths: Any) -> bool:
    if isinstance(argument, Sequence):
        return list(argument) == list(widths)
    return argument == widths
