"""Compute the fusion factors of S-α FPN: count objects per pyramid level.

CONFIG is that of any detector with a pyramid, whose training set is read, or a COCO
annotation file, which needs --detector.
"""

import argparse
import json
from pathlib import Path

from .arguments import add_config, add_force, path, refuse_existing, use_mmdet

DETECTORS = {
    "retinanet": "retinanet_r50_s-alpha-fpn_1x_coco",
    "faster-rcnn": "faster-rcnn_r50_s-alpha-fpn_1x_coco",
    "fcos": "fcos_r50_s-alpha-fpn_gn-head_1x_coco",
}
"""Short names for --detector."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    use_mmdet()
    from ..layers import StatisticFusionFactor

    add_config(parser, "of a detector, or a COCO json")
    parser.add_argument(
        "--detector",
        metavar="CONFIG",
        help=f"whose anchors count a COCO json: {', '.join(DETECTORS)} or a config",
    )
    parser.add_argument(
        "--count",
        choices=StatisticFusionFactor.COUNTS,
        help="what is counted per level (default: what FusionFactorHook counts)",
    )
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
    from ..config_tools import load_detector_config, unwrap_dataset
    from ..io import write_text
    from ..statistics import estimate_from_config

    annotations = path(options.config)
    if (annotations.suffix == ".json") != bool(options.detector):
        raise ValueError("a COCO json needs --detector, and a config takes none")
    if options.detector:
        options.config = DETECTORS.get(options.detector, options.detector)
    config = load_detector_config(options.config, options.cfg_options)
    if options.detector:
        _, shipped = next(unwrap_dataset(config.train_dataloader.dataset))
        config.train_dataloader.dataset = dict(
            type="CocoDataset",
            ann_file=str(annotations.resolve()),
            data_prefix=dict(img=""),
            metainfo=dict(classes=_classes(annotations)),
            pipeline=shipped.pipeline,
        )
    settings = {"count": options.count} if options.count else {}
    report = estimate_from_config(config, progress=True, **settings)
    write_text(fragment, report.config_fragment())
    report.draw(picture)
    print(report.table())
    print(f"config fragment: {fragment}\npicture: {picture}")


def _classes(annotations: Path) -> tuple[str, ...]:
    try:
        content = json.loads(annotations.read_text(encoding="utf-8-sig"))
        return tuple(category["name"] for category in content["categories"])
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{annotations} is no COCO file of annotations") from None
