"""Say which file of TinyPerson is missing or not the expected one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fpn_necks.datasets import check_tiny_person


def main() -> int:
    """Run the command; return 0 if everything needed is there, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "root",
        type=Path,
        nargs="?",
        default=Path("data/tiny_set"),
        help="folder of the release (default: data/tiny_set)",
    )
    parser.add_argument(
        "--no-images", action="store_true", help="look at annotations alone"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    options = parser.parse_args()
    findings = check_tiny_person(
        options.root,
        check_images=not options.no_images,
        progress=not options.no_progress,
    )
    print(*findings, sep="\n")
    errors = sum(finding.is_error for finding in findings)
    if errors:
        print(f"{errors} of {len(findings)} findings must be mended before training")
    return int(errors > 0)


if __name__ == "__main__":
    sys.exit(main())
