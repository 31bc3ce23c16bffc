"""The command line: ``python -m fpn_necks``."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

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

    check = commands.add_parser(
        "check",
        help="check the config of a detector and name what to change",
        description="Builds the config's detector without memory for its weights, "
        "measures the maps of backbone and neck, and compares them with what the heads "
        "expect. Needs neither the data nor the network. The exit status is 1 if there "
        "is an error, 0 otherwise.",
    )
    check.add_argument("config", help="path of the config")
    check.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="overrides of config values",
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line; default: those of this process.

    Returns:
        The exit status: 0, 1 for a fault that doctor or an error that check found, 2
        for wrong usage.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "doctor":
        from .doctor import run_doctor

        return run_doctor(as_json=options.json)
    if options.command == "check":
        return _check(parser, options)
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


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    wrong = [word for word in options.cfg_options if "=" not in word]
    if wrong:
        parser.error(f"--cfg-options takes KEY=VALUE, got {wrong[0]!r}")
    # The libraries warn of each other, not of the config.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _import_everything()
        except ImportError as error:
            message = " ".join(str(error).split())
            print(f"error: {message}; ask `{parser.prog} doctor`", file=sys.stderr)
            return 2
        from mmengine.config import DictAction

        from .checking import run_check

        values = argparse.ArgumentParser()
        values.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
        words = ["--cfg-options", *options.cfg_options] if options.cfg_options else []
        changes = values.parse_args(words).cfg_options
        return run_check(options.config, changes, as_json=options.json)


def _import_everything() -> ModuleType:
    # As a command line the package has been imported without its parts: see there.
    package = importlib.import_module("fpn_necks")
    return package if hasattr(package, "necks") else importlib.reload(package)


if __name__ == "__main__":
    sys.exit(main())
