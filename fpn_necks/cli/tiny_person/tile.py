"""Cut the annotations of any COCO json into tiles; images stay as they are."""

import argparse

from ..arguments import add_force, path, refuse_existing, use_mmdet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, pair = (
        parser.add_argument,
        dict(type=int, nargs=2, metavar=("WIDTH", "HEIGHT")),
    )
    add("source", type=path, help="COCO json of whole images")
    add("out", type=path, help="COCO json of tiles to write")
    add("--size", default=(640, 512), help="in pixels (default: 640 512)", **pair)
    add("--overlap", default=(50, 50), help="at least (default: 50 50)", **pair)
    add(
        "--keep",
        type=float,
        default=0.7,
        help="share of sqrt(area) inside a tile for a box to count (default: 0.7)",
    )
    add(
        "--cut-boxes",
        choices=("ignore", "drop"),
        default="ignore",
        help="what becomes of boxes with less (default: ignore); the released "
        "TinyPerson code drops them",
    )
    add_force(parser, "OUT")
    add("--no-progress", action="store_true", help="show no progress bar")


def run(options: argparse.Namespace) -> None:
    use_mmdet()
    from ...datasets import TileSettings
    from ...datasets.tiny_person import read_coco, tile_coco, write_coco
    from ...io import is_same_file

    settings = TileSettings(
        size=tuple(options.size),
        overlap=tuple(options.overlap),
        keep=options.keep,
        cut_boxes=options.cut_boxes,
    )
    refuse_existing(options.out, options.force)
    if is_same_file(options.out, options.source):
        raise ValueError("OUT must not be SOURCE")
    tiled, counts = tile_coco(
        read_coco(options.source), settings, progress=not options.no_progress
    )
    write_coco(options.out, tiled, overwrite=options.force)
    print(f"{counts}\nwritten to {options.out}")
