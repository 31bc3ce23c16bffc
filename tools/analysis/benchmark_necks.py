"""Measure necks against mmdet's FPN: time, memory, parameters, multiply-adds."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger
from torch import Tensor, nn

import fpn_necks  # noqa: F401  registers the necks
from fpn_necks.costs import (
    PairedTimes,
    compare_times,
    count_multiply_adds,
    count_parameters,
    peak_memory,
)

CHANNELS = [256, 512, 1024, 2048]  # of ResNet-50
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
        dict(type="ASFF", in_channels=256, out_channels=256),
    ],
    "AugFPN": [dict(type="AugFPN")],
    "DRFPN": [dict(type="DRFPN")],
    "DRFPN without PPM": [dict(type="DRFPN", context="none")],
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1344))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument(
        "--pyramids", nargs="+", choices=PYRAMIDS, default=["faster-rcnn"]
    )
    parser.add_argument(
        "--necks", nargs="+", metavar="NAME", help="only necks whose name has one"
    )
    parser.add_argument("--pairs", type=int, default=15, help="pairs of runs per ratio")
    parser.add_argument("--threads", type=int, default=1, help="on a processor")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    arguments = parser.parse_args()
    if min(arguments.pairs, arguments.batch, arguments.threads, *arguments.size) < 1:
        parser.error("--pairs, --batch, --threads and --size must be at least 1")
    return arguments


def build(stages: list[dict[str, Any]], pyramid: dict[str, Any]) -> nn.Module:
    """Build a neck; the first stage takes the pyramid's arguments."""
    first = {
        **dict(in_channels=CHANNELS, out_channels=256),
        **pyramid,
        **stages[0],
    }
    if first["type"] == "FPN_CARAFE":  # it has no such arguments
        first.pop("add_extra_convs", None)
        first.pop("relu_before_extra_convs", None)
    built = [MODELS.build(stage) for stage in (first, *stages[1:])]
    return nn.Sequential(*built).eval()


def forward(neck: nn.Module, maps: list[Tensor]) -> None:
    """Run the neck as in testing."""
    with torch.no_grad():
        neck(maps)


def forward_and_backward(neck: nn.Module, maps: list[Tensor]) -> None:
    """Run the neck as in training; gradients reach the backbone's maps as well."""
    neck.zero_grad(set_to_none=True)
    for x in maps:
        x.grad = None
    sum(output.sum() for output in neck(maps)).backward()


def measure(
    base: nn.Module, neck: nn.Module, maps: list[Tensor], pairs: int
) -> dict[str, Any]:
    """Measure a neck and the base beside it."""
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
    except NotImplementedError:  # of mmcv's operators some know only real devices
        return None


def _summary(times: PairedTimes) -> dict[str, Any]:
    return dict(
        milliseconds=1e3 * statistics.median(times.other),
        base_milliseconds=1e3 * statistics.median(times.base),
        ratio=times.median_ratio,
        ratio_interval=times.interval,
    )


def table_row(name: str, numbers: dict[str, Any], base: dict[str, Any]) -> str:
    """Write one row of the Markdown table."""
    counted = numbers["multiply_adds"]
    cells = [
        name,
        f"{numbers['parameters'] / 1e6:.2f}",
        "unknown" if counted is None else f"{counted / 1e9:.1f}",
    ]
    for step in ("forward", "forward_and_backward"):
        low, high = numbers[step]["ratio_interval"]
        cells += [
            f"{numbers[step]['milliseconds']:.0f}",
            f"{numbers[step]['ratio']:.2f} ({low:.2f} to {high:.2f})",
        ]
    megabytes = numbers["peak_bytes"] / 1e6
    cells.append(f"{megabytes:.0f} ({megabytes * 1e6 / base['peak_bytes']:.2f})")
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run the benchmark, print Markdown tables and write the numbers."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    register_all_modules()
    MMLogger.get_instance("benchmark", log_level="ERROR")
    height, width = arguments.size
    maps = [
        torch.randn(
            arguments.batch, c, -(-height // 2 ** (2 + i)), -(-width // 2 ** (2 + i))
        )
        .to(arguments.device)
        .requires_grad_()
        for i, c in enumerate(CHANNELS)
    ]
    device = arguments.device
    if torch.device(device).type == "cuda":
        device = torch.cuda.get_device_name(device)
    setting = (
        f"{height}x{width}, batch {arguments.batch}, {device}, {arguments.threads} "
        f"threads, medians of {arguments.pairs} pairs of runs, each beside mmdet's "
        "FPN; in brackets the 95 % interval of the ratio; peak memory of forward and "
        "backward, its ratio in brackets"
    )
    print(f"torch {torch.__version__}, {setting}")
    results: dict[str, Any] = dict(setting=setting, torch=torch.__version__, necks={})
    for pyramid in arguments.pyramids:
        print(f"\n{pyramid}\n")
        print(
            "| neck | parameters (M) | multiply-adds (G) | forward, ms | ratio "
            "| forward + backward, ms | ratio | peak memory, MB |"
        )
        print("|---|---|---|---|---|---|---|---|", flush=True)
        base = build(NECKS[BASE], PYRAMIDS[pyramid]).to(arguments.device)
        base_numbers = None
        for name, stages in NECKS.items():
            wanted = arguments.necks is None or any(w in name for w in arguments.necks)
            if name != BASE and not wanted:
                continue
            try:
                neck = build(stages, PYRAMIDS[pyramid]).to(arguments.device)
                numbers = measure(base, neck, maps, arguments.pairs)
            except (NotImplementedError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                print(f"{name} cannot run here: {reason}", file=sys.stderr)
                continue
            base_numbers = base_numbers or numbers
            print(table_row(name, numbers, base_numbers), flush=True)
            results["necks"][f"{pyramid}: {name}"] = numbers
            if arguments.json is not None:
                arguments.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
