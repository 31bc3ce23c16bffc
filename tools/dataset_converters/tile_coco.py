"""Cut the annotations of any COCO json into tiles; images stay as they are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fpn_necks.datasets import TileSettings
from fpn_necks.datasets.tiny_person import read_coco, tile_coco, write_coco
from fpn_necks.io import is_same_file


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    defaults = TileSettings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add, sides = parser.add_argument, ("WIDTH", "HEIGHT")
    add("source", type=Path, help="COCO json of whole images")
    add("out", type=Path, help="COCO json of tiles to write")
    add(
        "--size", type=int, nargs=2, default=defaults.size, metavar=sides, help="pixels"
    )
    add(
        "--overlap",
        type=int,
        nargs=2,
        default=defaults.overlap,
        metavar=sides,
        help="pixels that neighbours share at least",
    )
    add(
        "--keep",
        type=float,
        default=defaults.keep,
        help="share of sqrt(area) that must be inside a tile for a box to count",
    )
    add(
        "--cut-boxes",
        choices=("ignore", "drop"),
        default=defaults.cut_boxes,
        help="what becomes of boxes with less; the released TinyPerson code drops them",
    )
    add("--cut-last", action="store_true", help="cut the last tile, do not move it")
    add(
        "--turn",
        action="store_true",
        help="swap width and height of the tile where the released rule does so",
    )
    add("--force", action="store_true", help="replace OUT if it is there")
    add("--no-progress", action="store_true", help="show no progress bar")
    return parser.parse_args()


def main() -> int:
    """Run the command; return its exit status."""
    options = parse_arguments()
    try:
        settings = TileSettings(
            size=tuple(options.size),
            overlap=tuple(options.overlap),
            keep=options.keep,
            cut_boxes=options.cut_boxes,
            fixed_size=not options.cut_last,
            use_least_pieces_size=options.turn,
        )
        if options.out.exists() and not options.force:
            # Before the work, not after it.
            raise FileExistsError(f"{options.out} is there; --force replaces it")
        if is_same_file(options.out, options.source):
            raise ValueError("OUT must not be SOURCE")
        tiled, counts = tile_coco(
            read_coco(options.source), settings, progress=not options.no_progress
        )
        write_coco(options.out, tiled, overwrite=options.force)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{counts}\nwritten to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
