"""The command line: ``python -m fpn_necks``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .version import __version__


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m fpn_necks",
        description="Feature-pyramid necks for MMDetection 3.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    doctor = commands.add_parser(
        "doctor",
        help="check the installation and name what is wrong with it",
        description="Checks the installed libraries by using them, in a process of "
        "its own. The exit status is 1 if there is a fault, 0 otherwise.",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON, for reports")

    config = commands.add_parser(
        "config-path",
        help="print the absolute path of a config that comes with fpn_necks",
    )
    config.add_argument(
        "name", nargs="?", help="file name, with or without .py and folder"
    )
    config.add_argument("--list", action="store_true", help="list all configs")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line; default: those of this process.

    Returns:
        The exit status: 0, 1 for a fault that doctor found, 2 for wrong usage.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "doctor":
        from .doctor import run_doctor

        return run_doctor(as_json=options.json)
    return _config_path(parser, options)


def _config_path(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from .shipped_configs import config_path, list_configs

    if options.list == (options.name is not None):
        parser.error("config-path takes either a NAME or --list")
    try:
        if options.list:
            print("\n".join(list_configs()))
        else:
            print(config_path(options.name))
    except (LookupError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
