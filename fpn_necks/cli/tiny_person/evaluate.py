"""Evaluate a COCO results file, of whole images or of tiles, as TinyPerson does.

Prints the columns of Tables 3 and 4 of the S-α paper, in per cent.
"""

import argparse

from ..arguments import add_force, path, refuse_existing, use_mmdet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, switch = parser.add_argument, dict(action="store_true")
    add("--gt", type=path, required=True, help="COCO annotations of the whole images")
    add("--detections", type=path, required=True, help="COCO results")
    add(
        "--tiles",
        type=path,
        help="COCO annotations of the tiles (images with 'corner') that the detections "
        "are on; they are merged first",
    )
    add("--corrected", help="without the released code's quirks", **switch)
    add("--merge-categories", help="all categories are one", **switch)
    add(
        "--leave-out-dense",
        help="leave out images with boxes that carry in_dense_image",
        **switch,
    )
    add("--json", type=path, help="write all results, as fractions, to this file")
    add_force(parser, "the file of --json")


def run(options: argparse.Namespace) -> None:
    refuse_existing(options.json, options.force)
    use_mmdet()
    from ...evaluation import evaluate_tiny_person
    from ...evaluation.report import paper_table
    from ...io import is_same_file, write_json

    sources = [options.gt, options.detections, options.tiles]
    if options.json and any(is_same_file(options.json, x) for x in sources if x):
        raise ValueError(f"--json must not be an input, got {options.json}")
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
