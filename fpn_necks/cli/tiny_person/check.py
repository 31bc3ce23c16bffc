"""Find missing or wrong files of the TinyPerson release.

The exit status is 1 if something is to be mended before training.
"""

import argparse
from pathlib import Path

from ..arguments import path, use_mmdet
from .files import shows_progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("root", type=path, nargs="?", default=Path("data/tiny_set"))
    add("--no-images", action="store_true", help="check annotations alone")


def run(options: argparse.Namespace) -> int:
    use_mmdet()
    from ...datasets import check_tiny_person

    problems = check_tiny_person(
        options.root, check_images=not options.no_images, progress=shows_progress()
    )
    print(*problems, sep="\n")
    errors = sum(problem.is_error for problem in problems)
    if errors:
        print(f"{errors} problem{'s' * (errors > 1)} to fix before training")
    return int(errors > 0)
