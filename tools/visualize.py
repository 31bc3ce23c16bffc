"""See what a neck does: one picture per image, of the model's own forward pass.

CHECKPOINT is a file, `none` for random weights, or a work dir, whose last checkpoint
is taken; from a work dir, `fusion-factors` shows α over the training. Pictures go to
OUT/<image>_<what>.png, and those of all images together to OUT/<what>.png. The exit
status is 0, or 2 where something could not be drawn. docs/visualization.md says what
each kind shows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.logging import MMLogger

import fpn_necks  # noqa: F401  registers what the config may name
from fpn_necks.detectors import load_detector
from fpn_necks.inference.folders import find_images
from fpn_necks.visualization.pictures import (
    NAMES,
    PICTURES,
    Detector,
    draw_picture,
    options_of,
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("config", type=Path, metavar="CONFIG", help="of any mmdet detector")
    add("checkpoint", metavar="CHECKPOINT", help="file, work dir or `none`")
    add("images", type=Path, metavar="IMAGE", nargs="*", help="files or folders")
    add("--what", required=True, choices=NAMES, help="what the picture shows")
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
    add("--out", type=Path, default=Path("pictures"), help="default: pictures/")
    add("--force", action="store_true", help="overwrite pictures")
    add("--device", help="default: cuda:0 if there is one, else cpu")
    add(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        help="overrides of CONFIG's values, as key=value",
    )
    return parser.parse_args(arguments)


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that the kind of picture does not read."""
    what = options.what
    if options.levels and "levels" not in options_of(what):
        raise ValueError(f"--levels says nothing of --what {what}")
    if options.channel is not None and "channel" not in options_of(what):
        raise ValueError(f"--channel says nothing of --what {what}")
    if not options.images and what != "fusion-factors":
        raise ValueError(f"--what {what} needs at least one IMAGE")
    if not 0 <= options.score_thr <= 1:
        raise ValueError(f"--score-thr must be in [0, 1], got {options.score_thr}")


def find_pictures(options: argparse.Namespace) -> dict[Path, list[Path]]:
    """Return the pictures to write, and the images of each."""
    images = [
        image
        for source in options.images
        for image in find_images(source, options.out).values()
    ]
    if options.what not in PICTURES:
        pictures = {options.out / f"{options.what}.png": images}
    else:
        pictures = {}
        for image in images:
            path = options.out / f"{image.stem}_{options.what}.png"
            if path in pictures:
                raise ValueError(
                    f"{pictures[path][0]} and {image} would both become {path}"
                )
            pictures[path] = [image]
    for path in pictures:
        for image in images:
            if path.exists() and path.samefile(image):
                raise ValueError(
                    f"the picture {path} would overwrite the image {image}"
                )
    there = [path for path in pictures if path.exists()]
    if there and not options.force:
        raise FileExistsError(f"{there[0]} exists; --force overwrites")
    return pictures


def load_detectors(options: argparse.Namespace) -> list[Detector]:
    """Build the detector, and the one it is compared with."""
    sources = [(options.config, options.checkpoint, options.cfg_options)]
    if options.compare:
        sources.append((Path(options.compare[0]), options.compare[1], {}))
    labels = [config.stem for config, _, _ in sources]
    if len(set(labels)) < len(labels):
        labels = [f"{config.stem} {_name(weights)}" for config, weights, _ in sources]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({n})" for n, label in enumerate(labels, 1)]
    detectors = []
    for label, (config, weights, changes) in zip(labels, sources, strict=True):
        folder = Path(weights) if Path(weights).is_dir() else None
        over_time = folder is not None and options.what == "fusion-factors"
        checkpoint = None if weights == "none" or over_time else weights
        model = load_detector(config, checkpoint, options.device, changes)
        detectors.append(Detector(label, model, folder))
    return detectors


def _name(checkpoint: str) -> str:
    path = Path(checkpoint)
    return f"{path.parent.name}/{path.stem}" if path.suffix else path.name


def draw(options: argparse.Namespace) -> None:
    """Do what the command line says."""
    check_options(options)
    pictures = find_pictures(options)
    detectors = load_detectors(options)
    levels = [level.lower() for level in options.levels or ()] or None
    chosen = dict(
        levels=levels, channel=options.channel, score_threshold=options.score_thr
    )
    chosen = {key: chosen[key] for key in options_of(options.what)}
    for path, images in pictures.items():
        draw_picture(options.what, detectors, images, path, **chosen)
        print(path)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse_arguments(arguments)
    # How each parameter was initialised would hide what is said here.
    MMLogger.get_instance("mmengine").setLevel("WARNING")
    try:
        draw(options)
    except Exception as error:  # configs and checkpoints fail in every way there is
        named = isinstance(error, OSError | ValueError | RuntimeError)
        reason = " ".join(str(error).split())
        kind = "" if named and reason else f"{type(error).__name__}: "
        print(f"error: {kind}{reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
