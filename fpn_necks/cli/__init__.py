"""The command line ``fpn-necks COMMAND``: one module per command, its arguments alone.

A command's module is imported when the command is chosen. Its docstring is the help,
``add_arguments`` adds to the parser, ``run`` runs and may return an exit status.
Whatever goes wrong is answered here, in a line: commands and what they call just raise.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from ..messages import did_you_mean, one_line
from ..version import __version__

COMMANDS = {
    "doctor": "diagnose your installation and suggest fixes",
    "check": "find what is wrong with a detector's config",
    "configs": "list the shipped configs, or print the path of one",
    "alpha": "compute the fusion factors of S-α FPN for your data",
    "benchmark": "measure time, memory and FLOPs of detectors or necks",
    "visualize": "draw feature maps, fusion weights, detections and more",
    "detect": "detect objects on tiles of large images",
    "warm-start": "start training from the checkpoint of an FPN detector",
    "convert": "convert a checkpoint that the authors of a method released",
    "reproduce": "train the tables of the papers and compare the results",
    "tiny-person": "prepare TinyPerson data, and evaluate on it",
}


class _Parser(argparse.ArgumentParser):
    """Answers wrong usage in one line, with the most similar choice."""

    def error(self, message: str) -> Any:
        choice = re.search(r"invalid choice: '?(.*?)'? \(choose from (.*)\)", message)
        if choice:  # the message begins with the argument's name
            known = re.findall(r"[^\s,']+", choice[2])
            hint = did_you_mean(choice[1], known) or f"; choose from {', '.join(known)}"
            message = message[: choice.start()] + f"{choice[1]!r} is unknown{hint}"
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: of the command line; default: those of this process.

    Returns:
        The exit status: 0; 1 if the command found something wrong (doctor, check, a
        failed row or image); 2 if it could not be run; 130 if it was interrupted.
    """
    words = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names and α on terminals without them
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        if not sys.warnoptions:  # the libraries warn of each other
            warnings.filterwarnings("ignore", module=r"(?!fpn_necks\b)")
        return _answer(words)


def _answer(words: Sequence[str]) -> int:
    options = argparse.Namespace(traceback="--traceback" in words)
    try:
        options = build_parser(words).parse_args(words)
        status = options.run(options)
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:  # of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    # Configs, checkpoints and annotations are the user's, and fail in every way.
    except Exception as error:
        if options.traceback:
            raise
        print(f"error: {one_line(error, _parts_of(options))}", file=sys.stderr)
        return 2


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of the command that is chosen."""
    parser = _Parser(
        prog="fpn-necks",
        description="Feature-pyramid necks for MMDetection 3. Configs are paths or "
        "names of shipped configs.",
        formatter_class=functools.partial(argparse.HelpFormatter, max_help_position=16),
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error was raised"
    )
    chosen = next((word for word in words if not word.startswith("-")), None)
    group = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        command = group.add_parser(name, help=line)
        if name == chosen:
            module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
            command.description = module.__doc__
            command.formatter_class = argparse.RawDescriptionHelpFormatter
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _parts_of(options: argparse.Namespace) -> list[Any]:
    """Return the dicts of the config of a command that failed; none if unreadable."""
    from ..config_tools import load_config, walk

    try:
        config = load_config(options.config, getattr(options, "cfg_options", ()))
        return [node for _, node in walk(config)]
    except Exception:
        return []
