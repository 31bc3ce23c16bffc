"""Convert a checkpoint that the authors of a method trained, for use with our modules.

The exit status is 0 if OUT was written, 1 if IN is not a checkpoint of the method and 2
if the command line or a file's place is wrong. docs/released_checkpoints.md says which
checkpoints can be converted, and what a config must set to get the authors' results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fpn_necks.released import METHODS
from fpn_necks.released.detectors import convert_checkpoint


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=sorted(METHODS), help="what was trained")
    parser.add_argument(
        "source",
        type=Path,
        metavar="IN",
        help="the authors' checkpoint, of a detector or of the method's module alone",
    )
    parser.add_argument("target", type=Path, metavar="OUT", help="file to write")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse_arguments(arguments)
    try:
        conversion = convert_checkpoint(
            options.method, options.source, options.target, overwrite=options.force
        )
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(conversion.report())
    print(f"written: {options.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
