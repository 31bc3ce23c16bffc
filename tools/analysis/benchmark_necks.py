"""Time necks against mmdet's FPN in one run and print the ratios."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger
from torch import Tensor, nn

import fpn_necks  # noqa: F401  registers the necks

SETTINGS = {
    # Pyramids as mmdet's Faster R-CNN, RetinaNet and FCOS have them.
    "faster-rcnn": dict(num_outs=5),
    "retinanet": dict(num_outs=5, start_level=1, add_extra_convs="on_input"),
    "fcos": dict(
        num_outs=5,
        start_level=1,
        add_extra_convs="on_output",
        relu_before_extra_convs=True,
    ),
}
NECKS: dict[str, dict[str, Any]] = {
    "FPN (mmdet)": dict(type="FPN"),
    "S-α FPN, fixed": dict(type="SAlphaFPN", fusion_factor=0.5),
    "S-α FPN, learnable": dict(type="SAlphaFPN", fusion_factor="learnable"),
    "S-α FPN, attention": dict(type="SAlphaFPN", fusion_factor="attention"),
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1344))
    parser.add_argument("--runs", type=int, default=7, help="the median is reported")
    parser.add_argument("--threads", type=int, default=1, help="on a processor")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu"
    )
    return parser.parse_args()


def seconds_of(neck: nn.Module, maps: list[Tensor], backward: bool) -> float:
    """Return the time of one forward pass, or of forward and backward."""
    _synchronise(maps[0])
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        outputs = neck(maps)
        if backward:
            sum(output.sum() for output in outputs).backward()
    _synchronise(maps[0])
    return time.perf_counter() - start


def _synchronise(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def main() -> int:
    """Run the benchmark and print a Markdown table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    register_all_modules()
    MMLogger.get_instance("benchmark", log_level="ERROR")
    channels = [256, 512, 1024, 2048]
    height, width = arguments.size
    maps = [
        torch.randn(1, c, height // 4 // 2**i, width // 4 // 2**i).to(arguments.device)
        for i, c in enumerate(channels)
    ]
    print(
        f"{height}x{width}, batch 1, {arguments.device}, {arguments.threads} threads, "
        f"median of {arguments.runs} interleaved runs; ratios to mmdet's FPN\n"
    )
    print("| pyramid | neck | parameters (M) | forward | forward + backward |")
    print("|---|---|---|---|---|")
    for setting, pyramid in SETTINGS.items():
        necks = {
            name: MODELS.build(
                dict(**neck, **pyramid, in_channels=channels, out_channels=256)
            ).to(arguments.device)
            for name, neck in NECKS.items()
        }
        times: dict[str, dict[bool, list[float]]] = {
            name: {False: [], True: []} for name in necks
        }
        for run in range(arguments.runs + 1):
            for name, neck in necks.items():
                for backward in (False, True):
                    seconds = seconds_of(neck, maps, backward)
                    if run:  # the first warms up
                        times[name][backward].append(seconds)
        base = {b: statistics.median(times["FPN (mmdet)"][b]) for b in (False, True)}
        for name, neck in necks.items():
            millions = sum(p.numel() for p in neck.parameters()) / 1e6
            cells = [statistics.median(times[name][b]) / base[b] for b in (False, True)]
            ratios = " | ".join(f"{cell:.2f}" for cell in cells)
            print(f"| {setting} | {name} | {millions:.2f} | {ratios} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
