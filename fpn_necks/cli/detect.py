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
    add = parser.add_argument
    add_config(parser, "of the detector")
    add("checkpoint", metavar="CHECKPOINT", type=path, help="its weights")
    add("images", metavar="IMAGES", type=path, help="an image, or a folder of images")
    add("output", metavar="OUTPUT", type=path, help="folder to write to")
    pair = dict(type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    add("--tile", default=(640, 512), help="in pixels (default: 640 512)", **pair)
    add("--overlap", default=(50, 50), help="at least (default: 50 50)", **pair)
    add("--no-resize", action="store_true", help="the network sees tiles unscaled")
    add("--whole-image", action="store_true", help="run the whole image as well")
    add("--batch-size", type=int, default=4, help="tiles at a time (default: 4)")
    add(
        "--score-thr",
        type=float,
        default=0.3,
        help="leave out detections below, in pictures and files (default: 0.3)",
    )
    add(
        "--nms-thr",
        type=float,
        default=0.5,
        help="IoU above which the worse of two boxes is dropped (default: 0.5)",
    )
    add("--class-agnostic", action="store_true", help="also if the classes differ")
    add(
        "--border-margin",
        type=int,
        default=4,
        metavar="PIXELS",
        help="drop boxes that end so close to a tile's border if another tile found "
        "more of the object (default: 4)",
    )
    add("--keep-cut-boxes", action="store_true", help="drop none of these")
    add("--max-detections", type=int, metavar="N", help="of an image (default: all)")
    add("--ignore-masks", action="store_true", help="use the boxes of a mask detector")
    add_device(parser)
    add("--json-only", action="store_true", help="draw no pictures")
    add_force(parser, "what is there, and detect anew")


def run(options: argparse.Namespace) -> int:
    use_mmdet()
    from ..config_tools import build_without_weights, load_detector_config, read_options
    from ..inference.folders import detect_folder

    config = load_detector_config(options.config, options.cfg_options)
    build_without_weights(config.model)
    result = detect_folder(
        config.filename,
        options.checkpoint,
        options.images,
        options.output,
        draw=not options.json_only,
        force=options.force,
        device=pick_device(options.device),
        batch_size=options.batch_size,
        progress=True,
        config_options=read_options(options.cfg_options),
        tile_wh=tuple(options.tile),
        overlap_wh=tuple(options.overlap),
        nms_threshold=options.nms_thr,
        per_class=not options.class_agnostic,
        score_threshold=options.score_thr,
        max_detections=options.max_detections,
        also_whole_image=options.whole_image,
        border_margin=None if options.keep_cut_boxes else options.border_margin,
        resize_tiles=not options.no_resize,
        ignore_masks=options.ignore_masks,
    )
    print(f"{result.detections} detections on {result.images} images: {options.output}")
    for name, reason in result.failures.items():
        print(f"error: {name}: {reason}", file=sys.stderr)
    failed = len(result.failures)
    if failed:
        total = result.images + failed
        print(f"error: {failed} of {total} images failed", file=sys.stderr)
    return int(failed > 0)
