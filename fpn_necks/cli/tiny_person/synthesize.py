"""Make a synthetic set of tiny people: COCO json and images, without downloads."""

import argparse

from ..arguments import path, use_mmdet

PAIRS = {
    "image-size": (int, (640, 512), ("WIDTH", "HEIGHT"), "in pixels"),
    "size-range": (float, (2.0, 32.0), ("LEAST", "MOST"), "of people, sqrt(area), px"),
    "people-per-image": (int, (5, 25), ("LEAST", "MOST"), "in images not dense"),
    "distractors-per-image": (int, (4, 14), ("LEAST", "MOST"), "boats, birds, ..."),
}
NUMBERS = {
    "num-train": (200, "training images"),
    "num-val": (50, "validation images"),
    "dense-fraction": (0.05, "share of dense images"),
    "ignore-fraction": (0.05, "share of ignore regions"),
    "uncertain-fraction": (0.08, "share of faded people"),
    "logo-fraction": (0.01, "share of printed people"),
    "seed": (0, "the same seed makes the same bytes"),
    "workers": (0, "drawing processes; 0: this one"),
}
SWITCHES = {
    "merge-classes": "one class 'person' instead of 'sea_person' and 'earth_person'",
    "overwrite": "write into a folder that holds files",
    "no-progress": "show no progress bar",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; their names are those of `datasets.generate`."""
    add, default = parser.add_argument, "(default: {})"
    add("out_dir", type=path, help="target folder, new or empty")
    for name, (kind, pair, words, text) in PAIRS.items():
        text = f"{text} {default.format(' '.join(map(str, pair)))}"
        add(f"--{name}", type=kind, nargs=2, default=pair, metavar=words, help=text)
    for name, (value, text) in NUMBERS.items():
        text = f"{text} {default.format(value)}"
        add(f"--{name}", type=type(value), default=value, help=text)
    for name, text in SWITCHES.items():
        add(f"--{name}", action="store_true", help=text)
    add("--image-format", choices=("jpg", "png"), default="jpg")


def run(options: argparse.Namespace) -> None:
    use_mmdet()
    from ...datasets import generate

    settings = vars(options)
    names = [name.replace("-", "_") for name in (*PAIRS, *NUMBERS, *SWITCHES)]
    names.remove("no_progress")
    made = generate(
        str(options.out_dir),
        image_format=options.image_format,
        progress=not options.no_progress,
        **{
            name: tuple(value) if isinstance(value := settings[name], list) else value
            for name in names
        },
    )
    print(f"train: {made.train}")
    print(f"val:   {made.val}")
    print(f"written to {made.root}")
