"""Make Tiny CityPersons: CityPersons with images and boxes scaled down by 4."""

import argparse

from ..arguments import path, use_mmdet
from .files import add_images, check_targets, shows_progress

FACTOR = 4.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_images(parser, "anno_train.mat, anno_val.mat or a COCO json")
    parser.add_argument("json", type=path, help="COCO json to write")
    parser.add_argument(
        "--positive-labels",
        type=int,
        nargs="+",
        default=[1],
        help="labels of the mat file to find, 0 to 5 (default: 1, pedestrians); boxes "
        "of the others are ignored",
    )


def run(options: argparse.Namespace) -> None:
    use_mmdet()
    from ...datasets.tiny_person import city_persons as sets
    from ...datasets.tiny_person import write_coco

    check_targets(options, options.json)
    source = sets.read_city_persons(options.annotations, options.positive_labels)
    scaled = sets.scale_coco(source, FACTOR)
    written, present = sets.scale_images(
        source, options.images, options.out, FACTOR, progress=shows_progress()
    )
    write_coco(options.json, scaled, overwrite=options.force)
    print(
        f"{len(scaled['images']):,} images, {len(scaled['annotations']):,} boxes; "
        f"{written:,} images written to {options.out}, {present:,} were there"
    )
