"""Check a detector's config: what is wrong, and which line mends it.

Builds the detector without memory for its weights, measures the maps of backbone and
neck and compares them with what the heads expect. Needs neither data nor network. The
exit status is 1 if there is an error.
"""

import argparse

from .arguments import add_config, use_mmdet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    use_mmdet()
    from ..check import run_check

    return run_check(options.config, options.cfg_options, as_json=options.json)
