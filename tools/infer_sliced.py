"""Detect on tiles of large images with any mmdet detector, and draw what is found.

Writes into the output folder drawn/ (pictures), detections.json (COCO results) with
images.json (the ids of images and categories), and detections/ (one file per image).
An interrupted run goes on where it stopped when it is started again. The exit status is
0, 1 if an image failed and 2 if nothing could be done, or the files of all images could
not be written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fpn_necks.inference.folders import detect_folder


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("config", type=Path, help="config of the detector")
    add("checkpoint", type=Path, help="its weights")
    add("images", type=Path, help="an image, or a folder with subfolders")
    add("output", type=Path, help="folder to write to")
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
    add("--device", help="default: cuda:0 if there is one, else cpu")
    add("--json-only", action="store_true", help="draw no pictures")
    add("--force", action="store_true", help="detect anew and overwrite")
    return parser.parse_args()


def detection_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `detect_sliced` that change what is detected."""
    return dict(
        tile_wh=tuple(arguments.tile),
        overlap_wh=tuple(arguments.overlap),
        nms_threshold=arguments.nms_thr,
        per_class=not arguments.class_agnostic,
        score_threshold=arguments.score_thr,
        max_detections=arguments.max_detections,
        also_whole_image=arguments.whole_image,
        border_margin=None if arguments.keep_cut_boxes else arguments.border_margin,
        resize_tiles=not arguments.no_resize,
        ignore_masks=arguments.ignore_masks,
    )


def main() -> int:
    """Run the command; return its exit status."""
    arguments = parse_arguments()
    try:
        result = detect_folder(
            arguments.config,
            arguments.checkpoint,
            arguments.images,
            arguments.output,
            draw=not arguments.json_only,
            force=arguments.force,
            device=arguments.device,
            batch_size=arguments.batch_size,
            progress=True,
            **detection_options(arguments),
        )
    except Exception as error:  # configs and checkpoints fail in every way there is
        named = isinstance(error, OSError | ValueError | RuntimeError)
        reason = " ".join(str(error).split())
        kind = "" if named and reason else f"{type(error).__name__}: "
        print(f"error: {kind}{reason}", file=sys.stderr)
        return 2
    print(
        f"{result.detections} detections on {result.images} images: {arguments.output}"
    )
    for name, reason in result.failures.items():
        print(f"error: {name}: {reason}", file=sys.stderr)
    if result.failures:
        total = result.images + len(result.failures)
        failed = f"{len(result.failures)} of {total} images failed"
        print(f"error: {failed}", file=sys.stderr)
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
