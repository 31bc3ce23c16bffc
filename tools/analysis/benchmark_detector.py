"""Benchmark whole detectors stage by stage, next to the cost their papers report.

CONFIG is a path, the name of a shipped config or mmdet::folder/name, and may carry
changes: CONFIG@key=value,key=value, written as for --cfg-options. Detectors have random
weights and see random images with random boxes: no data set, no download. All are
measured in turns in this run; ratios are to the first one. Without a CONFIG, the necks
alone are measured beside mmdet's FPN.

Example: what AugFPN's parts cost

  python tools/analysis/benchmark_detector.py mmdet::retinanet/retinanet_r50_fpn_1x_coco
    --compare retinanet_r50_augfpn_1x_coco
    retinanet_r50_augfpn_1x_coco@model.auxiliary=None
    retinanet_r50_augfpn_1x_coco@model.neck.type=FPN

The exit status is 2 if the command line or a config is wrong.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from fpn_necks.costs.report import PYRAMIDS, benchmark, csv_costs, markdown_costs
from fpn_necks.io import write_text


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: An argument is wrong; what argparse finds wrong ends the program.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("config", nargs="?", metavar="CONFIG", help="what others are compared to")
    add("--compare", nargs="+", default=[], metavar="CONFIG")
    add("--names", nargs="+", help="titles in the tables, one per config")
    add(
        "--size",
        type=int,
        nargs=2,
        default=(800, 1344),
        metavar=("HEIGHT", "WIDTH"),
        help="of the images; default: 800 1344",
    )
    add("--batch", type=int, default=1, help="images per batch")
    add(
        "--boxes",
        type=int,
        default=80,
        help="per image that the score threshold is set to let through, since without "
        "training none are found; 0: the config's own threshold; default: 80",
    )
    add("--pairs", type=int, default=15, help="runs per ratio")
    add("--threads", type=int, default=1, help="on a processor")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add(
        "--train",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure a step of training as well; the default",
    )
    add("--necks", nargs="+", metavar="NAME", help="only necks whose name has one")
    add("--pyramid", choices=PYRAMIDS, default="faster-rcnn", help="of the necks")
    add("--csv", type=Path, help="file to write the numbers to")
    options = parser.parse_args(arguments)
    for name in ("batch", "pairs", "threads"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be at least 1")
    if min(options.size) < 32:
        raise ValueError(f"--size must be at least 32 32, got {options.size}")
    if options.boxes < 0:
        raise ValueError(f"--boxes must be 0 or more, got {options.boxes}")
    number = 1 + len(options.compare)
    if options.names is not None and len(options.names) != number:
        raise ValueError(
            f"--names must be one per config, {number}, got {len(options.names)}"
        )
    kind, _, index = options.device.partition(":")
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, got {options.device}")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {options.device}: there is no such GPU here")
    if options.csv is not None and options.csv.exists():
        raise FileExistsError(f"{options.csv} exists; it is not overwritten")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        options = parse_arguments(arguments)
        torch.set_num_threads(options.threads)
        # Initialisation is logged weight by weight.
        MMLogger.get_instance("benchmark", log_level="ERROR")
        setting, costs = benchmark(
            [options.config, *options.compare] if options.config else [],
            options.names,
            tuple(options.size),
            options.batch,
            options.device,
            options.pairs,
            options.boxes,
            options.train,
            options.necks,
            options.pyramid,
            lambda text: print(text, file=sys.stderr, flush=True),
        )
        print(f"\n{setting}\n\n{markdown_costs(costs)}")
        if options.csv:
            write_text(options.csv, csv_costs(costs), overwrite=False)
    except (ValueError, LookupError, OSError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    # Of pkg_resources, and of mmdet's own calls of torch.
    warnings.filterwarnings("ignore", category=UserWarning)
    sys.exit(main())
