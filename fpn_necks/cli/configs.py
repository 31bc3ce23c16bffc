"""List the shipped configs, or print the absolute path of one.

A config of your own inherits from a shipped one by that path.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", help="file name, with or without folder and .py"
    )


def run(options: argparse.Namespace) -> None:
    from ..shipped_configs import config_path, list_configs

    if options.name is None:
        print("\n".join(list_configs()))
    else:
        print(config_path(options.name))
