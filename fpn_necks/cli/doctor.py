"""Diagnose your installation: use each library, in a process of its own.

The exit status is 1 if something does not work.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for reports")


def run(options: argparse.Namespace) -> int:
    from ..doctor import run_doctor

    return run_doctor(as_json=options.json)
