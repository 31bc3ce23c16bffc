"""Turn the checkpoint of an FPN detector into one to start training of ours from.

OUT holds what fits the detector of CONFIG, under its names, and nothing else: give it
as `load_from`. What is new is initialised by the training. The exit status is 0 if OUT
was written, 1 if CHECKPOINT is no checkpoint or nothing of it fits, and 2 if the
command line, the config or a file's place is wrong. docs/check_config.md has examples.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdet.utils import register_all_modules
from mmengine.config import Config, DictAction

import fpn_necks  # noqa: F401  registers what the config may name
from fpn_necks.checking.measuring import build
from fpn_necks.checkpoints import write_checkpoint
from fpn_necks.warm_start import match_fpn_detector, read_state_dict


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="of the detector with our neck"
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="of the same detector with mmdet's FPN",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="file to write")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        help="overrides of config values, as key=value",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse_arguments(arguments)
    register_all_modules(init_default_scope=True)
    try:
        if options.out.exists():
            raise FileExistsError(f"{options.out} exists; it is not overwritten")
        if not options.config.is_file():
            raise FileNotFoundError(f"there is no config {options.config}")
        if not options.checkpoint.is_file():
            raise FileNotFoundError(f"there is no checkpoint {options.checkpoint}")
        model = _build(options)
    except (OSError, ValueError) as error:
        return _fail(error, 2)
    try:
        report, fitting = match_fpn_detector(model, read_state_dict(options.checkpoint))
        # Tensors may share the memory of others, which would be written with them.
        state = {name: tensor.clone() for name, tensor in fitting.items()}
        origin = dict(checkpoint=options.checkpoint.name, config=options.config.name)
        write_checkpoint(
            dict(meta=dict(warm_start=origin), state_dict=state), options.out
        )
    except ValueError as error:
        return _fail(error, 1)
    except OSError as error:
        return _fail(error, 2)
    print(report.table())
    print(f"\nwritten: {options.out}; train with --cfg-options load_from={options.out}")
    return 0


def _build(options: argparse.Namespace) -> object:
    try:
        config = Config.fromfile(options.config)
        config.merge_from_dict(options.cfg_options)
        return build(config.model)
    # A config is a program, and a model's constructor too: they raise what they like.
    except Exception as error:
        raise ValueError(
            f"the detector of {options.config} cannot be built: {error}; "
            f"`python -m fpn_necks check {options.config}` says why"
        ) from error


def _fail(error: Exception, status: int) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
