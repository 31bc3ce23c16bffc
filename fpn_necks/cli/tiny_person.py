"""Prepare TinyPerson data, and evaluate on it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .arguments import add_force, path, refuse_existing, use_mmdet

COMMANDS = {
    "check": "find missing or wrong files of the TinyPerson release; status 1 if there "
    "is something to fix before training",
    "tile": "cut the annotations of a COCO json into tiles; images stay as they are",
    "erase": "write images with ignored, uncertain and logo regions erased",
    "evaluate": "evaluate COCO results, of whole images or of tiles, by TinyPerson's "
    "rules; prints the columns of Tables 3 and 4 of the S-α paper, in per cent",
    "synthesize": "make a synthetic set of tiny people: COCO json and images",
    "city-persons": "make Tiny CityPersons: CityPersons scaled down by 4",
}
SWITCH = dict(action="store_true")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all six commands."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    check, tile, erase, evaluate, synthesize, city_persons = (
        commands.add_parser(name, help=text, description=text)
        for name, text in COMMANDS.items()
    )

    runs = (_check, _tile, _erase, _evaluate, _synthesize, _city_persons)
    for command, function in zip(commands.choices.values(), runs, strict=True):
        command.set_defaults(command=function)

    add = check.add_argument
    add("root", type=path, nargs="?", default=Path("data/tiny_set"))
    add("--no-images", help="check annotations alone", **SWITCH)

    add = tile.add_argument
    pair = dict(type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
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
    add_force(tile, "OUT")

    annotations = ("COCO json of whole images", "anno_*.mat or a COCO json")
    for command, text in zip((erase, city_persons), annotations, strict=True):
        command.add_argument("annotations", type=path, help=text)
        command.add_argument("images", type=path, help="folder of the images")
        command.add_argument("out", type=path, help="new folder for the images")
        text = "keep what OUT holds and go on"
        command.add_argument("--resume", help=text, **SWITCH)
        add_force(command, "the json")
    text = "where to write annotations without erased boxes"
    erase.add_argument("--json", type=path, help=text)
    city_persons.add_argument("json", type=path, help="COCO json to write")
    city_persons.add_argument(
        "--positive-labels",
        type=int,
        nargs="+",
        default=[1],
        help="labels of the mat file to find, 0 to 5 (default: 1, pedestrians); boxes "
        "of the others are ignored",
    )

    add = evaluate.add_argument
    add("--gt", type=path, required=True, help="COCO annotations of the whole images")
    add("--detections", type=path, required=True, help="COCO results")
    add(
        "--tiles",
        type=path,
        help="COCO annotations of the tiles (images with 'corner') that the detections "
        "are on; they are merged first",
    )
    add("--corrected", help="without the released code's quirks", **SWITCH)
    add("--merge-categories", help="all categories are one", **SWITCH)
    text = "leave out images with boxes that carry in_dense_image"
    add("--leave-out-dense", help=text, **SWITCH)
    add("--json", type=path, help="write all results, as fractions, to this file")
    add_force(evaluate, "the file of --json")

    add = synthesize.add_argument
    add("out_dir", type=path, help="target folder, new or empty")
    for name, kind, default, words, text in (
        ("image-size", int, (640, 512), ("WIDTH", "HEIGHT"), "in pixels"),
        ("size-range", float, (2, 32), ("LEAST", "MOST"), "of people, sqrt(area), px"),
        ("people-per-image", int, (5, 25), ("LEAST", "MOST"), "in images not dense"),
        ("distractors-per-image", int, (4, 14), ("LEAST", "MOST"), "boats, birds, ..."),
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
    add("--merge-classes", help=text, **SWITCH)
    add("--overwrite", help="write into a folder with files", **SWITCH)


def run(options: argparse.Namespace) -> int | None:
    use_mmdet()
    options.progress = sys.stderr.isatty()
    return options.command(options)


def _check(options: argparse.Namespace) -> int:
    from ..datasets import check_tiny_person

    problems = check_tiny_person(
        options.root, check_images=not options.no_images, progress=options.progress
    )
    print(*problems, sep="\n")
    errors = sum(problem.is_error for problem in problems)
    if errors:
        print(f"{errors} problem{'s' * (errors > 1)} to fix before training")
    return int(errors > 0)


def _tile(options: argparse.Namespace) -> None:
    from ..datasets import TileSettings
    from ..datasets.tiny_person import read_coco, tile_coco, write_coco

    settings = TileSettings(
        size=tuple(options.size),
        overlap=tuple(options.overlap),
        keep=options.keep,
        cut_boxes=options.cut_boxes,
    )
    _check_json(options, options.out, options.source)
    source = read_coco(options.source)
    tiled, counts = tile_coco(source, settings, progress=options.progress)
    write_coco(options.out, tiled, overwrite=options.force)
    print(f"{counts}\nwritten to {options.out}")


def _erase(options: argparse.Namespace) -> None:
    from ..datasets.tiny_person import read_coco, write_coco
    from ..datasets.tiny_person.erase import erase_images

    _check_json(options, options.json, options.annotations)
    _check_images(options)
    source = read_coco(options.annotations)
    erased, written, present = erase_images(
        source, options.images, options.out, progress=options.progress
    )
    if options.json:
        write_coco(options.json, erased, overwrite=options.force)
    before = len(source["annotations"])
    print(
        f"{before - len(erased['annotations']):,} of {before:,} boxes erased; "
        f"{written:,} images written to {options.out}, {present:,} were there"
    )


def _city_persons(options: argparse.Namespace) -> None:
    from ..datasets.tiny_person import city_persons, write_coco

    _check_json(options, options.json, options.annotations)
    _check_images(options)
    source = city_persons.read_city_persons(
        options.annotations, options.positive_labels
    )
    scaled = city_persons.scale_coco(source, 4)
    written, present = city_persons.scale_images(
        source, options.images, options.out, 4, progress=options.progress
    )
    write_coco(options.json, scaled, overwrite=options.force)
    print(
        f"{len(scaled['images']):,} images, {len(scaled['annotations']):,} boxes; "
        f"{written:,} images written to {options.out}, {present:,} were there"
    )


def _evaluate(options: argparse.Namespace) -> None:
    from ..evaluation import evaluate_tiny_person
    from ..evaluation.report import paper_table
    from ..io import write_json

    sources = [options.gt, options.detections, options.tiles]
    _check_json(options, options.json, *filter(None, sources))
    settings = dict(
        released=not options.corrected,
        merge_categories=options.merge_categories,
        leave_out_dense=options.leave_out_dense,
    )
    results = evaluate_tiny_person(*sources, **settings)
    print(paper_table(results, settings["released"]))
    if options.json:
        write_json(options.json, dict(settings, results=results), indent=1)
        print(f"all results: {options.json}")


def _synthesize(options: argparse.Namespace) -> None:
    from ..datasets import generate

    made = generate(
        options.out_dir,
        options.num_train,
        options.num_val,
        seed=options.seed,
        merge_classes=options.merge_classes,
        overwrite=options.overwrite,
        progress=options.progress,
        image_size=tuple(options.image_size),
        size_range=tuple(options.size_range),
        people_per_image=tuple(options.people_per_image),
        distractors_per_image=tuple(options.distractors_per_image),
    )
    print(f"train: {made.train}\nval:   {made.val}\nwritten to {made.root}")


def _check_json(options: argparse.Namespace, file: Path | None, *sources: Path) -> None:
    """Refuse, before the work, to overwrite a file that is there or that is read."""
    from ..io import is_same_file

    refuse_existing(file, options.force)
    if file and any(is_same_file(file, source) for source in sources):
        raise ValueError(f"the json to write must not be an input, got {file}")


def _check_images(options: argparse.Namespace) -> None:
    from ..io import is_same_file, require_empty

    if is_same_file(options.out, options.images):
        raise ValueError("OUT must not be the folder of the originals")
    if not options.resume:
        require_empty(options.out, "--resume to keep what is there and go on")
