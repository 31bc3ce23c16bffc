"""Write the tables of docs/model_zoo.md, or check that they are up to date.

Parameters and multiply-adds of every shipped config are counted anew, without data and
weights: about a minute. The exit status is 0, 1 if --check finds the page out of date
and 2 if the page cannot be written.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from fpn_necks.io import write_text
from fpn_necks.reproduction import load_papers
from fpn_necks.reproduction.model_zoo import make_tables, replace_tables

PAGE = Path(__file__).resolve().parents[1] / "docs" / "model_zoo.md"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, only compare"
    )
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="(default: docs/model_zoo.md)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse_arguments(arguments)
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    try:
        old = options.page.read_text(encoding="utf-8")
        replace_tables(old, "")  # a page without markers is found before the work
        tables = make_tables(load_papers(), lambda line: print(line, file=sys.stderr))
        new = replace_tables(old, tables)
        if options.check:
            up_to_date = new == old
            state = "up to date" if up_to_date else "out of date: run this without"
            print(f"{options.page} is {state}{'' if up_to_date else ' --check'}")
            return 0 if up_to_date else 1
        write_text(options.page, new)
    except (OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
