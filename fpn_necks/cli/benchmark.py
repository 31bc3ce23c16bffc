"""Measure whole detectors (backbone, neck, head, training step), or necks alone.

CONFIG is a path, the name of a shipped config or mmdet::folder/name, and may carry
changes: CONFIG@key=value,key=value, written as for --cfg-options. Detectors have random
weights and see random images with random boxes: no data set, no download. All are
measured in turns in this run; ratios are to the first one. Without a CONFIG our necks
are measured alone, beside mmdet's FPN.

Example: what AugFPN's parts cost

  fpn-necks benchmark mmdet::retinanet/retinanet_r50_fpn_1x_coco
    --compare retinanet_r50_augfpn_1x_coco
    retinanet_r50_augfpn_1x_coco@model.auxiliary=None
    retinanet_r50_augfpn_1x_coco@model.neck.type=FPN
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..messages import one_line
from .arguments import path, pick_device, refuse_existing, use_mmdet

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..costs.detector import MeasuredDetector
    from ..costs.detector_configs import ConfigArgument

PYRAMIDS = ("faster-rcnn", "retinanet", "fcos")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("config", metavar="CONFIG", nargs="?", help="what others are compared to")
    add("--compare", nargs="+", default=[], metavar="CONFIG")
    add("--names", nargs="+", help="titles in tables and picture, one per config")
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
    add("--picture", type=path, help="file to draw bars into")
    add("--pyramids", nargs="+", choices=PYRAMIDS, default=["faster-rcnn"])
    add("--necks", nargs="+", metavar="NAME", help="only necks whose name has one")
    add(
        "--size",
        type=int,
        nargs=2,
        default=(800, 1344),
        metavar=("HEIGHT", "WIDTH"),
        help="of the images (default: 800 1344)",
    )
    add("--batch", type=int, default=1, help="images per batch")
    add("--pairs", type=int, default=15, help="runs per ratio (default: 15)")
    add("--threads", type=int, default=1, help="on a processor")
    add("--device", help="default: cuda if there is one, else cpu")
    add("--json", type=path, help="file to write the numbers to")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    _check(options)
    use_mmdet()
    import torch

    options.device = pick_device(options.device)
    torch.set_num_threads(options.threads)
    if options.config is None:
        _measure_necks(options)
    else:
        _measure_detectors(options)


def _check(options: argparse.Namespace) -> None:
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
    if options.config is None and options.picture:
        raise ValueError("--picture is of detectors: it needs a CONFIG")
    for file in (options.json, options.picture):
        refuse_existing(file, force=False)


def _measure_detectors(options: argparse.Namespace) -> None:
    from ..config_tools import load_detector_config
    from ..costs.detector_configs import parse_config_argument
    from ..costs.detector_picture import draw_detector_costs, picture_formats
    from ..costs.detector_report import claims_table, markdown_tables
    from ..io import write_json

    formats = sorted(picture_formats())
    picture = options.picture
    if picture and picture.suffix.removeprefix(".").lower() not in formats:
        raise ValueError(
            f"--picture must end in one of {', '.join(formats)}, got {picture}"
        )
    named = [parse_config_argument(t) for t in (options.config, *options.compare)]
    for argument in named:
        load_detector_config(argument.name)
    prepared = [_prepare(argument, options) for argument in named]
    results = _measure(named, prepared, options)
    print(f"\n{markdown_tables(results)}")
    rows = _claims(results, [config for config, _ in prepared])
    results["claims"] = [
        dict(detector=title, **asdict(claim), text=claim.text, ratio=claim.ratio)
        for title, claim, _ in rows
    ]
    if rows:
        print(f"\n{claims_table(rows)}")
    if options.json:
        write_json(options.json, results, indent=1, overwrite=False)
        _say(f"written: {options.json}")
    if picture:
        draw_detector_costs(results, picture)
        _say(f"written: {picture}")


def _prepare(
    argument: ConfigArgument, options: argparse.Namespace
) -> tuple[Config, MeasuredDetector]:
    """Build a detector, and run it once: what cannot be measured is told at once."""
    from ..costs.detection_load import let_boxes_through
    from ..costs.detector import MeasuredDetector
    from ..costs.detector_configs import read_detector_config

    _say(f"building {argument.title}")
    config, left_out = read_detector_config(argument)
    if left_out:
        _say(f"  without {', '.join(left_out)}: the new type does not take it")
    try:
        detector = MeasuredDetector(
            config, tuple(options.size), options.batch, options.device, options.train
        )
        if options.train:
            detector.train_step()
        if options.boxes:
            let_boxes_through(detector.model, detector.infer, options.boxes)
        else:
            detector.infer()
    # A detector is a program, and can fail in any way.
    except Exception as error:
        raise ValueError(
            f"the detector of {argument.title} cannot be measured: "
            f"{one_line(error, config)}"
        ) from error
    return config, detector


def _measure(
    named: Sequence[ConfigArgument],
    prepared: Sequence[tuple[Config, MeasuredDetector]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    import torch

    from ..costs.detector_comparison import compare_detectors

    detectors = [detector for _, detector in prepared]
    titles = options.names or [argument.title for argument in named]
    on_one_thread = detectors[0].device.type == "cpu" and options.threads == 1
    costs = compare_detectors(
        detectors,
        options.pairs,
        # What other processes take is left out where that can be told apart.
        time.process_time if on_one_thread else time.perf_counter,
        options.train,
        _say,
    )
    results: dict[str, Any] = dict(
        torch=torch.__version__,
        setting=_setting(options, detectors, on_one_thread),
        size=list(options.size),
        batch=options.batch,
        pairs=options.pairs,
        threads=options.threads,
        device=options.device,
        detectors=[],
    )
    for title, argument, cost in zip(titles, named, costs, strict=True):
        results["detectors"].append(
            dict(
                title=title,
                config=argument.name,
                options=argument.written,
                **cost.to_json(options.batch),
            )
        )
    return results


def _setting(
    options: argparse.Namespace,
    detectors: Sequence[MeasuredDetector],
    on_one_thread: bool,
) -> str:
    import torch

    height, width = options.size
    if detectors[0].device.type == "cuda":
        where = torch.cuda.get_device_name(detectors[0].device)
    elif on_one_thread:
        where = "one processor thread, processor time"
    else:
        where = f"{options.threads} processor threads"
    boxes = (
        f"score thresholds set for about {options.boxes} boxes per image"
        if options.boxes
        else "the configs' own score thresholds"
    )
    return (
        f"torch {torch.__version__}, {height}x{width}, batch {options.batch}, {where}, "
        f"random weights and images, {boxes}; medians of {options.pairs} runs of each "
        "in turns, x: ratio to the first, in brackets its 95 % interval"
        + ("" if options.pairs > 5 else " (with so few runs: the whole range)")
        + "; head includes proposals and RoI pooling; peak memory of a stage includes "
        "what earlier ones hand over"
    )


def _claims(
    results: dict[str, Any], configs: Sequence[Config]
) -> list[tuple[str, Any, Any]]:
    from ..costs.detector_comparison import WHOLE
    from ..costs.paper_claims import INFERENCE, claims_of

    rows = []
    for detector, config in zip(results["detectors"], configs, strict=True):
        for claim in claims_of(config.model, configs[0].model):
            if claim.step == INFERENCE:
                measured = detector["inference"][WHOLE]
            else:
                measured = detector.get("train_step")
            rows.append((detector["title"], claim, measured))
    return rows


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _measure_necks(options: argparse.Namespace) -> None:
    import torch

    from ..costs import neck_comparison as necks
    from ..io import write_json

    height, width = options.size
    maps = [
        torch.randn(
            options.batch, c, -(-height // 2 ** (2 + i)), -(-width // 2 ** (2 + i))
        )
        .to(options.device)
        .requires_grad_()
        for i, c in enumerate(necks.CHANNELS)
    ]
    device = options.device
    if torch.device(device).type == "cuda":
        device = torch.cuda.get_device_name(device)
    setting = (
        f"{height}x{width}, batch {options.batch}, {device}, {options.threads} "
        f"threads, medians of {options.pairs} pairs of runs, each beside mmdet's "
        "FPN; in brackets the 95 % interval of the ratio; peak memory of forward and "
        "backward, its ratio in brackets"
    )
    print(f"torch {torch.__version__}, {setting}")
    results: dict[str, Any] = dict(setting=setting, torch=torch.__version__, necks={})
    for pyramid in options.pyramids:
        print(f"\n{pyramid}\n")
        print(f"| {' | '.join(necks.COST_COLUMNS)} |")
        print(f"|{'---|' * len(necks.COST_COLUMNS)}", flush=True)
        base = necks.build_neck(necks.NECKS[necks.BASE], necks.PYRAMIDS[pyramid]).to(
            options.device
        )
        base_numbers = None
        for name, stages in necks.NECKS.items():
            wanted = options.necks is None or any(w in name for w in options.necks)
            if name != necks.BASE and not wanted:
                continue
            try:
                neck = necks.build_neck(stages, necks.PYRAMIDS[pyramid]).to(
                    options.device
                )
                numbers = necks.measure_neck(base, neck, maps, options.pairs)
            except (NotImplementedError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                print(f"{name} cannot run here: {reason}", file=sys.stderr)
                continue
            base_numbers = base_numbers or numbers
            cells = necks.cost_cells(name, numbers, base_numbers)
            print(f"| {' | '.join(cells)} |", flush=True)
            results["necks"][f"{pyramid}: {name}"] = numbers
            if options.json is not None:
                write_json(options.json, results, indent=1)
