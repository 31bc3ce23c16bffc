"""Arguments of commands that write changed images and annotations."""

import argparse
import sys
from pathlib import Path

from ..arguments import add_force, path, refuse_existing


def add_images(parser: argparse.ArgumentParser, annotations: str) -> None:
    """Add the arguments of a command that writes changed images."""
    add = parser.add_argument
    add("annotations", type=path, help=annotations)
    add("images", type=path, help="folder of the images")
    add("out", type=path, help="new folder for the images")
    add("--resume", action="store_true", help="keep what OUT holds and go on")
    add_force(parser, "the json")


def check_targets(options: argparse.Namespace, json: Path | None) -> None:
    """Refuse, before the work, to overwrite sources or what is there."""
    from ...io import is_same_file, require_empty

    refuse_existing(json, options.force)
    if json and is_same_file(json, options.annotations):
        raise ValueError("the json to write must not be the source's annotations")
    if is_same_file(options.out, options.images):
        raise ValueError("OUT must not be the folder of the originals")
    if not options.resume:
        require_empty(options.out, "--resume to keep what is there and go on")


def shows_progress() -> bool:
    """Tell whether somebody looks at a progress bar."""
    return sys.stderr.isatty()
