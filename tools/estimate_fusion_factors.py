"""Count objects per pyramid level of any mmdet config and print the fusion factors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import Config, DictAction

import fpn_necks  # noqa: F401  registers what the config may name
from fpn_necks.io import write_text
from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.statistics import estimate_from_config


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="config of a detector with a pyramid")
    parser.add_argument(
        "--count",
        choices=StatisticFusionFactor.COUNTS,
        default="released",
        help="best anchors of objects, each once per image, and factors clamped, "
        "as in the released code (FCOS: objects by regress range); objects by their "
        "best anchor, as in the paper; or positive anchors",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for the config fragment and the picture "
        "(default: work_dirs/fusion_factors/NAME_OF_THE_CONFIG)",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        help="overrides of config values, as key=value",
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite the fragment and the picture"
    )
    return parser.parse_args()


def main() -> int:
    """Run the command; return its exit status."""
    arguments = parse_arguments()
    out = arguments.out or Path("work_dirs/fusion_factors") / arguments.config.stem
    fragment, picture = out / "fusion_factor.py", out / "objects_per_level.png"
    try:
        for file in (fragment, picture):
            if file.exists() and not arguments.force:
                raise ValueError(f"{file} exists; --force overwrites it")
        config = Config.fromfile(arguments.config)
        if arguments.cfg_options:
            config.merge_from_dict(arguments.cfg_options)
        report = estimate_from_config(config, arguments.count, progress=True)
        write_text(fragment, report.config_fragment())
        report.draw(picture)
    except (OSError, SyntaxError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.table())
    print(f"config fragment: {fragment}\npicture: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
