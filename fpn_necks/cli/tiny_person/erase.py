"""Write images with ignored, uncertain and logo regions erased."""

import argparse

from ..arguments import path, use_mmdet
from .files import add_images, check_targets, shows_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_images(parser, "COCO json of whole images")
    help = "where to write annotations without erased boxes"
    parser.add_argument("--json", type=path, help=help)


def run(options: argparse.Namespace) -> None:
    use_mmdet()
    from ...datasets.tiny_person import read_coco, write_coco
    from ...datasets.tiny_person.erase import erase_images

    check_targets(options, options.json)
    source = read_coco(options.annotations)
    erased, written, present = erase_images(
        source, options.images, options.out, progress=shows_progress()
    )
    if options.json:
        write_coco(options.json, erased, overwrite=options.force)
    before = len(source["annotations"])
    print(
        f"{before - len(erased['annotations']):,} of {before:,} boxes erased; "
        f"{written:,} images written to {options.out}, {present:,} were there"
    )
