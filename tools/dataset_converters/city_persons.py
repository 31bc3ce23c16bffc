"""Make Tiny CityPersons: CityPersons with images and boxes scaled down."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fpn_necks.datasets.tiny_person import write_coco
from fpn_necks.datasets.tiny_person.city_persons import (
    read_city_persons,
    scale_coco,
    scale_images,
)
from fpn_necks.io import is_same_file, require_empty


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("annotations", type=Path, help="anno_train.mat, anno_val.mat or a COCO json")
    add("images", type=Path, help="folder of the images, leftImg8bit/train or /val")
    add("out", type=Path, help="new folder for the images")
    add("json", type=Path, help="COCO json to write")
    add("--factor", type=float, default=4.0, help="how many times smaller")
    add(
        "--positive-labels",
        type=int,
        nargs="+",
        default=[1],
        help="labels of the mat file to find, 0 to 5; 1 are pedestrians. "
        "Boxes of the others are ignored",
    )
    add("--no-images", action="store_true", help="write the json alone")
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
        if options.json.exists() and not options.force:
            raise FileExistsError(f"{options.json} is there; --force replaces it")
        if is_same_file(options.json, options.annotations):
            raise ValueError("the json to write must not be the source's annotations")
        if is_same_file(options.out, options.images):
            raise ValueError("OUT must not be the folder of the originals")
        if not (options.resume or options.no_images):
            require_empty(options.out, "--resume to keep what is there and go on")
        source = read_city_persons(options.annotations, options.positive_labels)
        scaled = scale_coco(source, options.factor)
        written = present = 0
        if not options.no_images:
            written, present = scale_images(
                source,
                options.images,
                options.out,
                options.factor,
                progress=not options.no_progress,
            )
        write_coco(options.json, scaled, overwrite=options.force)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{len(scaled['images']):,} images, {len(scaled['annotations']):,} boxes; "
        f"{written:,} images written to {options.out}, {present:,} were there"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
