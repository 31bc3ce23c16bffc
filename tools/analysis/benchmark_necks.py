"""Measure necks against mmdet's FPN: time, memory, parameters, multiply-adds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger

import fpn_necks  # noqa: F401  registers the necks
from fpn_necks.costs.neck_comparison import (
    BASE,
    CHANNELS,
    COST_COLUMNS,
    NECKS,
    PYRAMIDS,
    build_neck,
    cost_cells,
    measure_neck,
)
from fpn_necks.io import write_json


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
    if arguments.json is not None and arguments.json.exists():
        parser.error(f"--json: {arguments.json} exists; it is not overwritten")
    return arguments


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
        print(f"| {' | '.join(COST_COLUMNS)} |")
        print(f"|{'---|' * len(COST_COLUMNS)}", flush=True)
        base = build_neck(NECKS[BASE], PYRAMIDS[pyramid]).to(arguments.device)
        base_numbers = None
        for name, stages in NECKS.items():
            wanted = arguments.necks is None or any(w in name for w in arguments.necks)
            if name != BASE and not wanted:
                continue
            try:
                neck = build_neck(stages, PYRAMIDS[pyramid]).to(arguments.device)
                numbers = measure_neck(base, neck, maps, arguments.pairs)
            except (NotImplementedError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                print(f"{name} cannot run here: {reason}", file=sys.stderr)
                continue
            base_numbers = base_numbers or numbers
            cells = cost_cells(name, numbers, base_numbers)
            print(f"| {' | '.join(cells)} |", flush=True)
            results["necks"][f"{pyramid}: {name}"] = numbers
            if arguments.json is not None:
                write_json(arguments.json, results, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
