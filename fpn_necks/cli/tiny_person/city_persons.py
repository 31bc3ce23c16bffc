"""Make Tiny CityPersons: CityPersons with images and boxes scaled down."""

import argparse

from ..arguments import path, use_mmdet
from .files import add_images, check_targets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_images(parser, "anno_train.mat, anno_val.mat or a COCO json")
    add = parser.add_argument
    add("json", type=path, help="COCO json to write")
    add("--factor", type=float, default=4.0, help="times smaller (default: 4)")
    add(
        "--positive-labels",
        type=int,
        nargs="+",
        default=[1],
        help="labels of the mat file to find, 0 to 5 (default: 1, pedestrians); boxes "
        "of the others are ignored",
    )
    add("--no-images", action="store_true", help="write the json alone")


def run(options: argparse.Namespace) -> None:
    use_mmdet()
    from ...datasets.tiny_person import city_persons as sets
    from ...datasets.tiny_person import write_coco

    check_targets(options, options.json, writes_images=not options.no_images)
    source = sets.read_city_persons(options.annotations, options.positive_labels)
    scaled = sets.scale_coco(source, options.factor)
    written = present = 0
    if not options.no_images:
        written, present = sets.scale_images(
            source,
            options.images,
            options.out,
            options.factor,
            progress=not options.no_progress,
        )
    write_coco(options.json, scaled, overwrite=options.force)
    print(
        f"{len(scaled['images']):,} images, {len(scaled['annotations']):,} boxes; "
        f"{written:,} images written to {options.out}, {present:,} were there"
    )
