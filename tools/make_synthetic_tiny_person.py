"""Makes a synthetic tiny-person set: COCO json and images, without downloads."""

from __future__ import annotations

import argparse
import sys

from fpn_necks.datasets import generate


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parses the command line; the names are those of `generate`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("out_dir", help="target folder, new or empty")
    add("--num-train", type=int, default=200, help="training images")
    add("--num-val", type=int, default=50, help="validation images")
    add(
        "--image-size",
        type=int,
        nargs=2,
        default=(640, 512),
        metavar=("WIDTH", "HEIGHT"),
        help="image size in pixels",
    )
    add(
        "--size-range",
        type=float,
        nargs=2,
        default=(2.0, 32.0),
        metavar=("SMALLEST", "LARGEST"),
        help="size of people in pixels, sqrt(width * height)",
    )
    add(
        "--people-per-image",
        type=int,
        nargs=2,
        default=(5, 25),
        metavar=("FEWEST", "MOST"),
        help="people of an image that is not dense",
    )
    add(
        "--distractors-per-image",
        type=int,
        nargs=2,
        default=(4, 14),
        metavar=("FEWEST", "MOST"),
        help="umbrellas, boats, birds, rocks and so on",
    )
    add("--dense-fraction", type=float, default=0.05, help="share of dense images")
    add("--ignore-fraction", type=float, default=0.05, help="share of ignore regions")
    add("--uncertain-fraction", type=float, default=0.08, help="share of faded people")
    add("--logo-fraction", type=float, default=0.01, help="share of printed people")
    add("--seed", type=int, default=0, help="the same seed makes the same bytes")
    add(
        "--merge-classes",
        action="store_true",
        help="one class 'person' instead of 'sea_person' and 'earth_person'",
    )
    add(
        "--ignored-as-crowd",
        action="store_true",
        help="write ignore regions as iscrowd=1, which plain COCO readers honour",
    )
    add("--image-format", choices=("jpg", "png"), default="jpg", help="of the images")
    add("--jpeg-quality", type=int, default=95, help="1 to 100")
    add("--workers", type=int, default=0, help="drawing processes; 0: this one")
    add("--overwrite", action="store_true", help="write into a folder that holds files")
    add("--no-progress", action="store_true", help="show no progress bar")
    return parser.parse_args(arguments)


def main() -> int:
    """Runs the command; returns the exit status."""
    options = vars(parse_arguments())
    options["progress"] = not options.pop("no_progress")
    for name in (
        "image_size",
        "size_range",
        "people_per_image",
        "distractors_per_image",
    ):
        options[name] = tuple(options[name])
    try:
        made = generate(**options)
    except (ValueError, OSError) as error:
        print(f"make_synthetic_tiny_person: {error}", file=sys.stderr)
        return 2
    print(f"train: {made.train}")
    print(f"val:   {made.val}")
    print(f"written to {made.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
