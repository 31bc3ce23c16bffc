"""Write a set's images with ignored, uncertain and logo regions erased."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fpn_necks.datasets.tiny_person import read_coco, write_coco
from fpn_necks.datasets.tiny_person.erase import erase_images
from fpn_necks.io import is_same_file, require_empty


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("annotations", type=Path, help="COCO json of whole images")
    add("images", type=Path, help="folder of the images")
    add("out", type=Path, help="new folder for the images")
    add("--json", type=Path, help="where to write annotations without erased boxes")
    add("--jpeg-quality", type=int, default=95, help="of changed images, 1 to 100")
    add(
        "--resume",
        action="store_true",
        help="go on in a folder that holds files; those of the same names are kept",
    )
    add("--force", action="store_true", help="replace the json if it is there")
    add("--no-progress", action="store_true", help="show no progress bar")
    return parser.parse_args()


def main() -> int:
    """Run the command; return its exit status."""
    options = parse_arguments()
    try:
        if options.json and is_same_file(options.json, options.annotations):
            raise ValueError("--json must not be the source's annotations")
        if options.json and options.json.exists() and not options.force:
            raise FileExistsError(f"{options.json} is there; --force replaces it")
        if is_same_file(options.out, options.images):
            raise ValueError("OUT must not be the folder of the originals")
        if not options.resume:
            require_empty(options.out, "--resume to keep what is there and go on")
        source = read_coco(options.annotations)
        erased, written, present = erase_images(
            source,
            options.images,
            options.out,
            jpeg_quality=options.jpeg_quality,
            progress=not options.no_progress,
        )
        if options.json:
            write_coco(options.json, erased, overwrite=options.force)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    boxes = len(source["annotations"]) - len(erased["annotations"])
    print(
        f"{boxes:,} of {len(source['annotations']):,} boxes erased; {written:,} images "
        f"written to {options.out}, {present:,} were there"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
