"""Compute the fusion factors of S-α FPN: count objects per pyramid level.

CONFIG is that of any detector with a pyramid; its training set is read.
"""

import argparse
from pathlib import Path

from .arguments import add_config, add_force, path, refuse_existing, use_mmdet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--out",
        type=path,
        help="folder for the config fragment and the picture "
        "(default: work_dirs/fusion_factors/NAME)",
    )
    add_force(parser, "the fragment and the picture")


def run(options: argparse.Namespace) -> None:
    out = options.out or Path("work_dirs/fusion_factors") / Path(options.config).stem
    fragment, picture = out / "fusion_factor.py", out / "objects_per_level.png"
    for file in (fragment, picture):
        refuse_existing(file, options.force)
    use_mmdet()
    from ..config_tools import load_detector_config
    from ..io import write_text
    from ..statistics import estimate_from_config

    config = load_detector_config(options.config, options.cfg_options)
    report = estimate_from_config(config, progress=True)
    write_text(fragment, report.config_fragment())
    report.draw(picture)
    print(report.table())
    print(f"config fragment: {fragment}\npicture: {picture}")
