"""Measure whole detectors (backbone, neck, head, training step), or necks alone.

CONFIG is a path, the name of a shipped config or mmdet::folder/name, and may carry
changes: CONFIG@key=value,key=value, written as for --cfg-options. Detectors have random
weights and see random images with random boxes: no data set, no download. All are
measured in turns in this run; ratios are to the first one. Without a CONFIG our necks
are measured alone, beside mmdet's FPN.

Example: what AugFPN costs, with and without its auxiliary losses

  fpn-necks benchmark mmdet::retinanet/retinanet_r50_fpn_1x_coco
    --compare retinanet_r50_augfpn_1x_coco
    retinanet_r50_augfpn_1x_coco@model.auxiliary=None
"""

from __future__ import annotations

import argparse

from .arguments import add_device, pick_device, use_mmdet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("config", metavar="CONFIG", nargs="?", help="what others are compared to")
    add("--compare", nargs="+", default=[], metavar="CONFIG")
    add(
        "--boxes",
        type=int,
        default=80,
        help="per image that the score threshold is set to let through, since without "
        "training none are found; 0: the config's own threshold (default: 80)",
    )
    add(
        "--train",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure a step of training as well (default)",
    )
    add("--necks", nargs="+", metavar="NAME", help="only necks whose name has one")
    add(
        "--size",
        type=int,
        nargs=2,
        default=(800, 1344),
        metavar=("HEIGHT", "WIDTH"),
        help="of the images (default: 800 1344)",
    )
    add("--batch", type=int, default=1, help="images per batch (default: 1)")
    add("--pairs", type=int, default=15, help="runs per ratio (default: 15)")
    add("--threads", type=int, default=1, help="on a processor (default: 1)")
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    least = dict(batch=1, pairs=1, threads=1, boxes=0)
    for name, number in least.items():
        if getattr(options, name) < number:
            raise ValueError(f"--{name} must be at least {number}")
    if min(options.size) < 32:
        raise ValueError(f"--size must be at least 32 32, got {options.size}")
    use_mmdet()
    import torch

    from ..costs.report import benchmark
    from ..costs.tables import markdown_costs

    device = pick_device(options.device)
    torch.set_num_threads(options.threads)
    setting, costs = benchmark(
        [options.config, *options.compare] if options.config else [],
        tuple(options.size),
        options.batch,
        device,
        options.pairs,
        options.boxes,
        options.train,
        options.necks,
    )
    print(f"\n{setting}\n\n{markdown_costs(costs)}")
