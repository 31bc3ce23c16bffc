"""See what a neck does: one picture per image, of the model's own forward pass.

CHECKPOINT is a file, `none` for random weights, or a work dir, whose last checkpoint
is taken; from a work dir, `fusion-factors` shows α over the training. Pictures go to
OUT/<image>_<what>.png, and those of all images together to OUT/<what>.png.
docs/visualization.md shows each kind of picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_config, add_device, add_force, path, pick_device, use_mmdet

if TYPE_CHECKING:
    from ..visualization.pictures import Detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    use_mmdet()
    from ..visualization.pictures import PICTURES

    add_config(parser, "of any mmdet detector")
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="file, work dir or `none`")
    add("images", type=path, metavar="IMAGE", nargs="*", help="files or folders")
    add("--what", required=True, choices=PICTURES, help="what the picture shows")
    add(
        "--levels",
        nargs="+",
        metavar="LEVEL",
        help="show these only, such as c3 m3 p3 (default: all)",
    )
    add("--channel", type=int, help="of the maps (default: root mean square of all)")
    add("--score-thr", type=float, default=0.3, help="of detections (default: 0.3)")
    add(
        "--compare",
        nargs=2,
        metavar=("CONFIG", "CHECKPOINT"),
        help="a second detector on the same images, in the same pictures",
    )
    add("--out", type=path, default=Path("pictures"), help="default: pictures/")
    add_force(parser, "pictures")
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from ..visualization.pictures import PICTURES, draw_picture

    _check_options(options)
    pictures = _find_pictures(options)
    detectors = _load_detectors(options)
    chosen = dict(
        levels=[level.lower() for level in options.levels or ()] or None,
        channel=options.channel,
        score_threshold=options.score_thr,
    )
    chosen = {key: chosen[key] for key in PICTURES[options.what].options}
    for picture, images in pictures.items():
        draw_picture(options.what, detectors, images, picture, **chosen)
        print(picture)


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that the kind of picture does not read."""
    from ..visualization.pictures import PICTURES

    what = options.what
    known = PICTURES[what].options
    if options.levels and "levels" not in known:
        raise ValueError(f"--levels says nothing of --what {what}")
    if options.channel is not None and "channel" not in known:
        raise ValueError(f"--channel says nothing of --what {what}")
    if not options.images and what != "fusion-factors":
        raise ValueError(f"--what {what} needs at least one IMAGE")
    if not 0 <= options.score_thr <= 1:
        raise ValueError(f"--score-thr must be in [0, 1], got {options.score_thr}")


def _find_pictures(options: argparse.Namespace) -> dict[Path, list[Path]]:
    """Return the pictures to write, and the images of each."""
    from ..inference.folders import find_images
    from ..visualization.pictures import PICTURES

    images = [
        image
        for source in options.images
        for image in find_images(source, options.out).values()
    ]
    if not PICTURES[options.what].of_one_image:
        pictures = {options.out / f"{options.what}.png": images}
    else:
        pictures = {}
        for image in images:
            picture = options.out / f"{image.stem}_{options.what}.png"
            if picture in pictures:
                raise ValueError(
                    f"{pictures[picture][0]} and {image} would both become {picture}"
                )
            pictures[picture] = [image]
    for picture in pictures:
        for image in images:
            if picture.exists() and picture.samefile(image):
                raise ValueError(
                    f"the picture {picture} would overwrite the image {image}"
                )
    there = [picture for picture in pictures if picture.exists()]
    if there and not options.force:
        raise FileExistsError(f"{there[0]} exists; --force overwrites")
    return pictures


def _load_detectors(options: argparse.Namespace) -> list[Detector]:
    """Build the detector, and the one it is compared with."""
    from ..config_tools import load_detector_config, read_options
    from ..detectors import load_detector
    from ..visualization.pictures import Detector

    device = pick_device(options.device)
    sources = [(options.config, options.checkpoint, options.cfg_options)]
    if options.compare:
        sources.append((*options.compare, []))
    configs = [load_detector_config(name, changes) for name, _, changes in sources]
    sources = [
        (Path(config.filename), weights, read_options(changes))
        for config, (_, weights, changes) in zip(configs, sources, strict=True)
    ]
    labels = [config.stem for config, _, _ in sources]
    if len(set(labels)) < len(labels):
        labels = [f"{config.stem} {_name(weights)}" for config, weights, _ in sources]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({n})" for n, label in enumerate(labels, 1)]
    detectors = []
    for label, (config, weights, changes) in zip(labels, sources, strict=True):
        weights = str(path(weights))
        folder = Path(weights) if Path(weights).is_dir() else None
        over_time = folder is not None and options.what == "fusion-factors"
        checkpoint = None if weights == "none" or over_time else weights
        model = load_detector(config, checkpoint, device, changes)
        detectors.append(Detector(label, model, folder))
    return detectors


def _name(checkpoint: str) -> str:
    file = Path(checkpoint)
    return f"{file.parent.name}/{file.stem}" if file.suffix else file.name
