"""Detect on tiles of large images with any mmdet detector, and draw what is found.

Writes into OUTPUT drawn/ (pictures), detections.json (COCO results) with images.json
(ids of images and categories), and detections/ (one file per image). An interrupted run
goes on when it is started again. The exit status is 1 if an image failed.
"""

from __future__ import annotations

import argparse
import sys

from .arguments import add_config, add_device, add_force, path, pick_device, use_mmdet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, switch = parser.add_argument, dict(action="store_true")
    add_config(parser, "of the detector")
    add("checkpoint", metavar="CHECKPOINT", type=path, help="its weights")
    add("images", metavar="IMAGES", type=path, help="an image, or a folder of images")
    add("output", metavar="OUTPUT", type=path, help="folder to write to")
    pair = dict(type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    add("--tile", default=(640, 512), help="in pixels (default: 640 512)", **pair)
    add("--overlap", default=(50, 50), help="at least (default: 50 50)", **pair)
    add("--no-resize", help="the network sees tiles unscaled", **switch)
    add("--whole-image", help="run the whole image as well", **switch)
    add("--batch-size", type=int, default=4, help="tiles at a time (default: 4)")
    add("--score-thr", type=float, default=0.3, help="least score (default: 0.3)")
    add(
        "--nms-thr",
        type=float,
        default=0.5,
        help="IoU above which the worse of two boxes is dropped (default: 0.5)",
    )
    add("--class-agnostic", help="also if the classes differ", **switch)
    add(
        "--keep-cut-boxes",
        help="also where another tile found more of the object",
        **switch,
    )
    add("--ignore-masks", help="use the boxes of a mask detector", **switch)
    add_device(parser)
    add("--json-only", help="draw no pictures", **switch)
    add_force(parser, "what is there, and detect anew")


def run(options: argparse.Namespace) -> int:
    use_mmdet()
    from ..config_tools import find_config, read_options
    from ..inference.folders import detect_folder

    images, detections, failures = detect_folder(
        find_config(options.config),
        options.checkpoint,
        options.images,
        options.output,
        draw=not options.json_only,
        force=options.force,
        device=pick_device(options.device),
        batch_size=options.batch_size,
        config_options=read_options(options.cfg_options),
        tile_wh=tuple(options.tile),
        overlap_wh=tuple(options.overlap),
        nms_threshold=options.nms_thr,
        per_class=not options.class_agnostic,
        score_threshold=options.score_thr,
        max_detections=None,
        also_whole_image=options.whole_image,
        border_margin=None if options.keep_cut_boxes else 4,
        resize_tiles=not options.no_resize,
        ignore_masks=options.ignore_masks,
    )
    print(f"{detections} detections on {images} images: {options.output}")
    for name, reason in failures.items():
        print(f"error: {name}: {reason}", file=sys.stderr)
    if failures:
        total = images + len(failures)
        print(f"error: {len(failures)} of {total} images failed", file=sys.stderr)
    return int(bool(failures))
