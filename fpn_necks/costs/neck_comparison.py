"""Necks beside mmdet's FPN: which are compared, and how each is measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from .counts import count_multiply_adds, count_parameters
from .detector_report import short_number
from .memory import peak_memory
from .timing import PairedTimes, compare_times

CHANNELS = [256, 512, 1024, 2048]  # of ResNet-50
OUT_CHANNELS = 256
PYRAMIDS: dict[str, dict[str, Any]] = {
    # As mmdet's Faster R-CNN, RetinaNet and FCOS have them.
    "faster-rcnn": dict(num_outs=5),
    "retinanet": dict(num_outs=5, start_level=1, add_extra_convs="on_input"),
    "fcos": dict(
        num_outs=5,
        start_level=1,
        add_extra_convs="on_output",
        relu_before_extra_convs=True,
    ),
}
BASE = "FPN (mmdet)"
# What follows a neck in a list refines its maps.
NECKS: dict[str, list[dict[str, Any]]] = {
    BASE: [dict(type="FPN")],
    "PAFPN (mmdet)": [dict(type="PAFPN")],
    "FPN_CARAFE (mmdet)": [dict(type="FPN_CARAFE")],
    "S-α FPN, fixed": [dict(type="SAlphaFPN", fusion_factor=0.5)],
    "S-α FPN, attention": [dict(type="SAlphaFPN", fusion_factor="attention")],
    "CFG-FPN, 1 stage": [dict(type="CFGFPN", cascade_times=1)],
    "CFG-FPN, 2 stages": [dict(type="CFGFPN", cascade_times=2)],
    "CFG-FPN, 1 stage, rank 32": [dict(type="CFGFPN", cascade_times=1, rank=32)],
    "FPN + ASFF": [
        dict(type="FPN"),
        dict(type="ASFF"),
    ],
    "AugFPN": [dict(type="AugFPN")],
    "DRFPN": [dict(type="DRFPN")],
    "DRFPN without PPM": [dict(type="DRFPN", context="none")],
}


def build_neck(
    stages: Sequence[Mapping[str, Any]],
    pyramid: Mapping[str, Any],
    in_channels: Sequence[int] = CHANNELS,
    out_channels: int = OUT_CHANNELS,
) -> nn.Module:
    """Build a neck for evaluation.

    Args:
        stages: configs; the first takes the pyramid's arguments.
        pyramid: a value of ``PYRAMIDS``.
        in_channels: widths of the backbone's maps.
        out_channels: width of the pyramid.
    """
    first = {
        **dict(in_channels=list(in_channels), out_channels=out_channels),
        **pyramid,
        **stages[0],
    }
    widths = dict(in_channels=out_channels, out_channels=out_channels)
    rest = [{**stage, **widths} for stage in stages[1:]]
    if first["type"] == "FPN_CARAFE":  # it has no such arguments
        first.pop("add_extra_convs", None)
        first.pop("relu_before_extra_convs", None)
    built = [MODELS.build(stage) for stage in (first, *rest)]
    return nn.Sequential(*built).eval()


def forward(neck: nn.Module, maps: list[Tensor]) -> None:
    """Run the neck as in testing."""
    with torch.no_grad():
        neck(maps)


def forward_and_backward(neck: nn.Module, maps: list[Tensor]) -> None:
    """Run the neck as in training; gradients reach the backbone's maps as well."""
    sum(output.sum() for output in neck(maps)).backward()
    # At the end: what the next run frees would count as memory that it gave back.
    neck.zero_grad(set_to_none=True)
    for x in maps:
        x.grad = None


def measure_neck(
    base: nn.Module, neck: nn.Module, maps: list[Tensor], pairs: int
) -> dict[str, Any]:
    """Measure a neck and the base beside it, in turns.

    Args:
        base: what the ratios of times are to.
        neck: what is measured.
        maps: of the backbone, leaves that require a gradient.
        pairs: runs of each.

    Returns:
        ``parameters``, ``multiply_adds`` (None where an operator cannot be counted),
        ``peak_bytes``, and of ``forward`` and ``forward_and_backward`` each
        ``milliseconds``, ``base_milliseconds``, ``ratio`` and ``ratio_interval``.
    """
    device = maps[0].device
    numbers: dict[str, Any] = dict(
        parameters=count_parameters(neck),
        multiply_adds=_multiply_adds(neck, maps),
        peak_bytes=peak_memory(lambda: forward_and_backward(neck, maps), device),
    )
    for name, run in (
        ("forward", forward),
        ("forward_and_backward", forward_and_backward),
    ):
        times = compare_times(
            lambda run=run: run(base, maps),
            lambda run=run: run(neck, maps),
            pairs,
            device,
            # What other processes take is left out where that can be told apart.
            time.process_time if _is_single_threaded(device) else time.perf_counter,
        )
        numbers[name] = _summary(times)
    return numbers


def _is_single_threaded(device: torch.device) -> bool:
    return device.type == "cpu" and torch.get_num_threads() == 1


def _multiply_adds(neck: nn.Module, maps: list[Tensor]) -> int | None:
    try:
        return count_multiply_adds(neck, maps)
    except (NotImplementedError, RuntimeError):
        # Of mmcv's operators some know only real devices.
        return None


def _summary(times: PairedTimes) -> dict[str, Any]:
    return dict(
        milliseconds=1e3 * statistics.median(times.other),
        base_milliseconds=1e3 * statistics.median(times.base),
        ratio=times.median_ratio,
        ratio_interval=times.interval,
    )


COST_COLUMNS = (
    *("neck", "parameters (M)", "multiply-adds (G)", "forward, ms", "ratio"),
    *("forward + backward, ms", "ratio", "peak memory, MB"),
)
"""Headings of ``cost_cells``."""


def cost_cells(
    title: str, numbers: Mapping[str, Any], base: Mapping[str, Any] | None
) -> list[str]:
    """Write the numbers of ``measure_neck`` as the cells of a table's row.

    Args:
        title: of the neck.
        numbers: its own.
        base: those of the neck to whose memory a ratio is wanted; None: no ratio.
    """
    counted = numbers["multiply_adds"]
    cells = [
        title,
        f"{numbers['parameters'] / 1e6:.2f}",
        "unknown" if counted is None else f"{counted / 1e9:.1f}",
    ]
    for step in ("forward", "forward_and_backward"):
        low, high = numbers[step]["ratio_interval"]
        cells += [
            short_number(numbers[step]["milliseconds"]),
            f"{numbers[step]['ratio']:.2f} ({low:.2f} to {high:.2f})",
        ]
    peak = f"{numbers['peak_bytes'] / 1e6:.0f}"
    if base is not None:
        peak += f" (x{numbers['peak_bytes'] / base['peak_bytes']:.2f})"
    return [*cells, peak]
