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

from .arguments import (
    add_config,
    add_device,
    add_force,
    path,
    pick_device,
    refuse_existing,
    use_mmdet,
)

if TYPE_CHECKING:
    from ..visualization.pictures import Detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    from ..visualization.pictures import PICTURES, draw_picture

    known = PICTURES[options.what].options
    for name in ("levels", "channel"):
        if getattr(options, name) is not None and name not in known:
            raise ValueError(f"--{name} says nothing of --what {options.what}")
    if not options.images and options.what != "fusion-factors":
        raise ValueError(f"--what {options.what} needs at least one IMAGE")
    pictures = _find_pictures(options)
    detectors = _load_detectors(options)
    chosen = dict(
        levels=[level.lower() for level in options.levels or ()] or None,
        channel=options.channel,
        score_threshold=options.score_thr,
    )
    chosen = {key: chosen[key] for key in known}
    for picture, images in pictures.items():
        draw_picture(options.what, detectors, images, picture, **chosen)
        print(picture)


def _find_pictures(options: argparse.Namespace) -> dict[Path, list[Path]]:
    """Return the pictures to write, and the images of each."""
    from ..inference.folders import find_images
    from ..io import is_same_file
    from ..visualization.pictures import PICTURES

    found = [find_images(image, options.out).values() for image in options.images]
    images = [image for several in found for image in several]
    if not PICTURES[options.what].of_one_image:
        pictures = {options.out / f"{options.what}.png": images}
    else:
        name = f"{{.stem}}_{options.what}.png"
        pictures = {options.out / name.format(image): [image] for image in images}
        if len(pictures) < len(images):
            raise ValueError("two images of one name would become one picture")
    for picture in pictures:
        refuse_existing(picture, options.force)
        if any(is_same_file(picture, image) for image in images):
            raise ValueError(f"a picture would overwrite the image {picture}")
    return pictures


def _load_detectors(options: argparse.Namespace) -> list[Detector]:
    """Build the detector, and the one it is compared with."""
    from ..config_tools import find_config, read_options
    from ..detectors import load_detector
    from ..visualization.pictures import Detector

    device = pick_device(options.device)
    sources = [(options.config, options.checkpoint, options.cfg_options)]
    sources += [(*options.compare, [])] if options.compare else []
    detectors = []
    for name, weights, changes in sources:
        config = find_config(name)
        label = config.stem
        if options.compare and options.compare[0] == options.config:
            label += f" {weights}"  # one config with two checkpoints
        file = path(weights)
        folder = file if file.is_dir() else None
        over_time = folder is not None and options.what == "fusion-factors"
        checkpoint = None if weights == "none" or over_time else file
        model = load_detector(config, checkpoint, device, read_options(changes))
        detectors.append(Detector(label, model, folder))
    return detectors
