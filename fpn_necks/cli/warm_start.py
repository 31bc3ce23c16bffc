"""Turn the checkpoint of an FPN detector into one to start training ours from.

OUT holds what fits the detector of CONFIG, under its names, and nothing else: use it as
`load_from`. What is new is initialised by the training.
"""

import argparse
from pathlib import Path

from .arguments import add_config, path, refuse_existing, use_mmdet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser, "of the detector with our neck")
    parser.add_argument(
        "checkpoint",
        type=path,
        metavar="CHECKPOINT",
        help="of the same detector with mmdet's FPN",
    )
    parser.add_argument("out", type=path, metavar="OUT", help="file to write")


def run(options: argparse.Namespace) -> None:
    refuse_existing(options.out, force=False)
    use_mmdet()
    from ..checkpoints import write_checkpoint
    from ..config_tools import build_without_weights, load_detector_config
    from ..warm_start import match_fpn_detector, read_state_dict

    config = load_detector_config(options.config, options.cfg_options)
    state_dict = read_state_dict(options.checkpoint)
    model = build_without_weights(config.model)
    report, fitting = match_fpn_detector(model, state_dict)
    # Tensors may share the memory of others, which would be written with them.
    state = {name: tensor.clone() for name, tensor in fitting.items()}
    origin = dict(checkpoint=options.checkpoint.name, config=Path(config.filename).name)
    write_checkpoint(dict(meta=dict(warm_start=origin), state_dict=state), options.out)
    print(report.table())
    print(f"\nwritten: {options.out}; train with --cfg-options load_from={options.out}")
