"""Measure whole detectors: backbone, neck, head and post-processing, and training.

CONFIG is a path, the name of a shipped config or mmdet::folder/name, and may carry
changes: CONFIG@key=value,key=value, written as for --cfg-options. Detectors have random
weights and see random images with random boxes: no data set, no download. All are
measured in turns in this run; ratios are to the first one.

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
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MMLogger

import fpn_necks  # noqa: F401  registers what configs may name
from fpn_necks.costs.detection_load import let_boxes_through
from fpn_necks.costs.detector import MeasuredDetector
from fpn_necks.costs.detector_comparison import WHOLE, compare_detectors
from fpn_necks.costs.detector_configs import (
    ConfigArgument,
    parse_config_argument,
    read_detector_config,
)
from fpn_necks.costs.detector_picture import draw_detector_costs, picture_formats
from fpn_necks.costs.detector_report import claims_table, markdown_tables
from fpn_necks.costs.paper_claims import INFERENCE, claims_of
from fpn_necks.io import write_json


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ValueError: an argument is wrong; what argparse finds wrong ends the program.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", metavar="CONFIG", help="what others are compared to")
    parser.add_argument("--compare", nargs="+", default=[], metavar="CONFIG")
    parser.add_argument(
        "--names", nargs="+", help="titles in tables and picture, one per config"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(800, 1344),
        metavar=("HEIGHT", "WIDTH"),
        help="of the images; default: 800 1344",
    )
    parser.add_argument("--batch", type=int, default=1, help="images per batch")
    parser.add_argument(
        "--boxes",
        type=int,
        default=80,
        help="per image that the score threshold is set to let through, since without "
        "training none are found; 0: the config's own threshold; default: 80",
    )
    parser.add_argument("--pairs", type=int, default=15, help="runs per ratio")
    parser.add_argument("--threads", type=int, default=1, help="on a processor")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument(
        "--train",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure a step of training as well; the default",
    )
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--picture", type=Path, help="file to draw bars into")
    options = parser.parse_args(arguments)
    _check(options)
    return options


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
    try:
        device = torch.device(options.device)
    except RuntimeError:
        raise ValueError(
            f"--device must be cpu or cuda, got {options.device}"
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, got {options.device}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {options.device}: there is no such GPU here")
    for path in (options.json, options.picture):
        if path is not None and path.exists():
            raise FileExistsError(f"{path} exists; it is not overwritten")
    if options.picture is not None:
        ending = options.picture.suffix.removeprefix(".").lower()
        if ending not in picture_formats():
            raise ValueError(
                f"--picture must end in one of {', '.join(sorted(picture_formats()))}, "
                f"got {options.picture}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        options = parse_arguments(arguments)
        named = [parse_config_argument(t) for t in (options.config, *options.compare)]
        torch.set_num_threads(options.threads)
        register_all_modules(init_default_scope=True)
        # Initialisation is logged weight by weight.
        MMLogger.get_instance("benchmark", log_level="ERROR")
        prepared = [_prepare(argument, options) for argument in named]
    except (ValueError, LookupError, OSError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
        return 2
    results = _measure(named, prepared, options)
    print(f"\n{markdown_tables(results)}")
    rows = _claims(results, [config for config, _ in prepared])
    results["claims"] = [
        dict(detector=title, **asdict(claim), text=claim.text, ratio=claim.ratio)
        for title, claim, _ in rows
    ]
    if rows:
        print(f"\n{claims_table(rows)}")
    try:
        if options.json:
            write_json(options.json, results, indent=1, overwrite=False)
            _say(f"written: {options.json}")
        if options.picture:
            draw_detector_costs(results, options.picture)
            _say(f"written: {options.picture}")
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _prepare(
    argument: ConfigArgument, options: argparse.Namespace
) -> tuple[Config, MeasuredDetector]:
    """Build a detector, and run it once: what cannot be measured is told at once."""
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
            f"{type(error).__name__}: {error}"
        ) from error
    return config, detector


def _measure(
    named: Sequence[ConfigArgument],
    prepared: Sequence[tuple[Config, MeasuredDetector]],
    options: argparse.Namespace,
) -> dict[str, Any]:
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


if __name__ == "__main__":
    # Of pkg_resources, and of mmdet's own calls of torch.
    warnings.filterwarnings("ignore", category=UserWarning)
    sys.exit(main())
