"""Convert a checkpoint that the authors of a method trained, for use with our modules.

docs/released_checkpoints.md says which checkpoints can be converted, and what a config
must set to get the authors' results.
"""

import argparse

from .arguments import add_force, path, refuse_existing

NAMES = {"augfpn": "highfpn", "augfpn-retinanet": "highfpn-retinanet"}
"""Our names of what the authors call otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    import fpn_necks

    fpn_necks.register_modules()
    from ..released import METHODS

    known = sorted({*METHODS, *NAMES})
    parser.add_argument("method", choices=known, help="what was trained")
    parser.add_argument(
        "source",
        type=path,
        metavar="IN",
        help="the authors' checkpoint, of a detector or of the method's module alone",
    )
    parser.add_argument("target", type=path, metavar="OUT", help="file to write")
    add_force(parser, "OUT")


def run(options: argparse.Namespace) -> None:
    refuse_existing(options.target, options.force)
    from ..released.detectors import convert_checkpoint

    method = NAMES.get(options.method, options.method)
    conversion = convert_checkpoint(
        method, options.source, options.target, overwrite=options.force
    )
    print(conversion.report())
    print(f"written: {options.target}")
