"""Evaluate a COCO results file, of whole images or of tiles, as TinyPerson does.

Prints the columns of Tables 3 and 4 of the S-α paper, in per cent.
"""

import argparse

from ..arguments import add_force, path, refuse_existing, use_mmdet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--gt", type=path, required=True, help="COCO annotations of the whole images")
    add("--detections", type=path, required=True, help="COCO results")
    add(
        "--tiles",
        type=path,
        help="COCO annotations of the tiles (images with 'corner') that the detections "
        "are on; they are merged first",
    )
    add("--metric", default="ap,mr", help="ap, mr or both (default: ap,mr)")
    add("--corrected", action="store_true", help="without the released code's quirks")
    add("--no-nms", action="store_true", help="merge tiles without NMS")
    add("--merge-categories", action="store_true", help="all categories are one")
    add(
        "--leave-out-dense",
        action="store_true",
        help="leave out images with boxes that carry in_dense_image",
    )
    add("--json", type=path, help="write all results, as fractions, to this file")
    add_force(parser, "the file of --json")


def run(options: argparse.Namespace) -> None:
    refuse_existing(options.json, options.force)
    use_mmdet()
    from ...evaluation import EvaluationOptions, evaluate_tiny_person
    from ...evaluation.report import paper_table, rules_in_words
    from ...io import is_same_file, write_json

    sources = [options.gt, options.detections, options.tiles]
    if options.json and any(is_same_file(options.json, x) for x in sources if x):
        raise ValueError(f"--json must not be an input, got {options.json}")
    settings = EvaluationOptions(
        metrics=[metric.strip() for metric in options.metric.split(",")],
        released=not options.corrected,
        merge_nms=None if options.no_nms else 0.5,
        merge_categories=options.merge_categories,
        leave_out_dense=options.leave_out_dense,
    )
    results = evaluate_tiny_person(*sources, **vars(settings))
    print(f"{rules_in_words(settings.rules)}; per cent")
    print(paper_table(results))
    if options.json:
        write_json(
            options.json, dict(rules=vars(settings.rules), results=results), indent=1
        )
        print(f"all results: {options.json}")
