"""Evaluate a COCO results file, of whole images or of tiles, as TinyPerson does.

Prints the columns of Tables 3 and 4 of the S-alpha paper, in per cent.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fpn_necks.evaluation import EvaluationOptions, evaluate_tiny_person
from fpn_necks.evaluation.report import paper_table, rules_in_words
from fpn_necks.io import is_same_file, write_json


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--gt", type=Path, required=True, help="COCO annotations of the whole images"
    )
    parser.add_argument(
        "--detections", type=Path, required=True, help="COCO results, made by anything"
    )
    parser.add_argument(
        "--tiles",
        type=Path,
        help="COCO annotations of the tiles (images with 'corner') that the detections "
        "are on; they are merged first",
    )
    parser.add_argument(
        "--metric", default="ap,mr", help="ap, mr or both (default: ap,mr)"
    )
    parser.add_argument(
        "--corrected",
        action="store_true",
        help="without the quirks of the released evaluation; published numbers have "
        "them (docs/tiny_person_evaluation.md)",
    )
    parser.add_argument(
        "--no-nms", action="store_true", help="merge tiles without suppressing doubles"
    )
    parser.add_argument(
        "--merge-categories",
        action="store_true",
        help="all categories are one, as sea_person and earth_person are",
    )
    parser.add_argument(
        "--leave-out-dense",
        action="store_true",
        help="do not evaluate images with boxes that carry in_dense_image",
    )
    parser.add_argument(
        "--json", type=Path, help="write all results, as fractions, to this file"
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite the file of --json"
    )
    return parser.parse_args()


def main() -> int:
    """Run the command; return its exit status, 2 if an input is wrong."""
    arguments = parse_arguments()
    try:
        if arguments.json and arguments.json.exists() and not arguments.force:
            raise ValueError(f"{arguments.json} exists; --force overwrites it")
        inputs = (arguments.gt, arguments.detections, arguments.tiles)
        if arguments.json and any(
            path and is_same_file(arguments.json, path) for path in inputs
        ):
            raise ValueError(f"--json must not be an input, got {arguments.json}")
        options = EvaluationOptions(
            metrics=[m.strip() for m in arguments.metric.split(",")],
            released=not arguments.corrected,
            merge_nms=None if arguments.no_nms else 0.5,
            merge_categories=arguments.merge_categories,
            leave_out_dense=arguments.leave_out_dense,
        )
        results = evaluate_tiny_person(
            arguments.gt, arguments.detections, arguments.tiles, **vars(options)
        )
        if arguments.json:
            content = dict(rules=vars(options.rules), results=results)
            write_json(arguments.json, content, indent=1)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{rules_in_words(options.rules)}; per cent")
    print(paper_table(results))
    if arguments.json:
        print(f"all results: {arguments.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
