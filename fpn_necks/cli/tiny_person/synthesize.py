"""Make a synthetic set of tiny people: COCO json and images, without downloads."""

import argparse

from ..arguments import path, use_mmdet
from .files import shows_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; their names are those of `datasets.generate`."""
    add = parser.add_argument
    add("out_dir", type=path, help="target folder, new or empty")
    for name, kind, default, words, text in (
        ("image-size", int, (640, 512), ("WIDTH", "HEIGHT"), "in pixels"),
        ("size-range", float, (2, 32), ("LEAST", "MOST"), "of people, sqrt(area), px"),
        ("people-per-image", int, (5, 25), ("LEAST", "MOST"), "in images not dense"),
    ):
        text += " (default: {} {})".format(*default)
        add(f"--{name}", type=kind, nargs=2, default=default, metavar=words, help=text)
    for name, number, text in (
        ("num-train", 200, "training images"),
        ("num-val", 50, "validation images"),
        ("seed", 0, "the same seed makes the same bytes"),
    ):
        add(f"--{name}", type=int, default=number, help=f"{text} (default: {number})")
    text = "one class 'person' instead of 'sea_person' and 'earth_person'"
    add("--merge-classes", action="store_true", help=text)
    add("--overwrite", action="store_true", help="write into a folder with files")


def run(options: argparse.Namespace) -> None:
    use_mmdet()
    from ...datasets import generate

    made = generate(
        options.out_dir,
        options.num_train,
        options.num_val,
        seed=options.seed,
        merge_classes=options.merge_classes,
        overwrite=options.overwrite,
        progress=shows_progress(),
        image_size=tuple(options.image_size),
        size_range=tuple(options.size_range),
        people_per_image=tuple(options.people_per_image),
    )
    print(f"train: {made.train}\nval:   {made.val}\nwritten to {made.root}")
