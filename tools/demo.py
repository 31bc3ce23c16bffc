"""The demo: a synthetic set, S-α, a short training, a test and pictures.

RetinaNet with S-α FPN is trained from scratch on tiles of drawn beaches with people of
a few pixels, and scored as the TinyPerson benchmark does it. Made for two CPU cores; a
GPU is used if there is one. The exit status is 0 if the trained detector reaches
--minimum-ap50 on the held-out images, 1 if not and 2 if the arguments are wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

import fpn_necks
from fpn_necks.datasets import SyntheticTinyPerson, generate
from fpn_necks.evaluation import merge_tiles
from fpn_necks.io import write_json
from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.shipped_configs import configs_folder
from fpn_necks.statistics import (
    FusionFactorEstimate,
    estimate_from_config,
)
from fpn_necks.visualization import (
    draw_samples,
    draw_training_curve,
    find_scalars,
    load_samples,
)

CONFIG = "s_alpha_fpn/retinanet_r18_s-alpha-fpn_demo_synthetic-tiny-person.py"
CLONE = Path(__file__).resolve().parent.parent
OUTPUT_FILE = "mmdet_output.txt"
SET_FOLDER = "synthetic_tiny_person"
PICTURE_SCORE = 0.35
IMAGES_PER_PICTURE = 2
STEPS = 6

# Rows of the table: TinyPersonMetric's buckets and their sizes, sqrt(area), in pixels.
BUCKETS = {
    "tiny": "up to 20 px",
    "tiny1": "up to 8 px",
    "tiny2": "8 to 12 px",
    "tiny3": "12 to 20 px",
    "small": "20 to 32 px",
}
JUDGED = "AP50_tiny"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add(
        "--work-dir",
        type=Path,
        default=CLONE / "work_dirs" / "demo",
        help="where the set, the checkpoints, the logs and the pictures go",
    )
    add("--train-images", type=int, default=80, help="images to train on")
    add("--val-images", type=int, default=24, help="held-out images to test on")
    add("--epochs", type=int, default=None, help="instead of the config's number")
    add("--seed", type=int, default=0, help="of the set and of the training")
    add(
        "--minimum-ap50",
        type=float,
        default=0.10,
        help="AP50 of people up to 20 px below which the exit status is 1",
    )
    add("--pictures", type=int, default=3, help="pictures of two held-out images each")
    add("--verbose", action="store_true", help="show mmengine's log on the console")
    options = parser.parse_args(arguments)
    for name in ("train_images", "val_images", "epochs", "pictures"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if options.seed < 0:
        parser.error(f"--seed must be at least 0, got {options.seed}")
    return options


@contextlib.contextmanager
def announced(number: int, what: str) -> Iterator[None]:
    """Prints a step's name before it and its duration after it."""
    print(f"\n[{number}/{STEPS}] {what}", flush=True)
    start = time.perf_counter()
    yield
    print(f"      done in {time.perf_counter() - start:.0f} s", flush=True)


class TrainingBar(Hook):
    """Shows the training as one bar with the loss and the time left."""

    priority = "VERY_LOW"

    def before_train(self, runner: Runner) -> None:
        """Opens the bar."""
        # Where the output is a file every refresh is a line: make them few.
        interval = 0.5 if sys.stderr.isatty() else 15
        self.bar = tqdm(
            total=runner.max_iters, desc="training", unit="step", mininterval=interval
        )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Moves the bar by one step."""
        if outputs:
            self.bar.set_postfix(loss=f"{outputs['loss'].item():.3f}", refresh=False)
        self.bar.update()

    def after_train(self, runner: Runner) -> None:
        """Closes the bar."""
        self.bar.close()


@dataclass(frozen=True)
class Demo:
    """The settings that all steps share.

    Args:
        config: The shipped config, pointed at the drawn set.
        work_dir: Where everything is written.
        console: Where mmdet's and mmengine's output goes.
    """

    config: Config
    work_dir: Path
    console: TextIO

    def quietly(self) -> contextlib.AbstractContextManager:
        """Sends what mmdet prints to `console`."""
        return contextlib.redirect_stdout(self.console)

    def runner(self, name: str, **changes: Any) -> Runner:
        """Builds mmengine's Runner as mmdet's tools do, in a work dir of its own."""
        config = self.config.copy()
        config.work_dir = str(self.work_dir / name)
        # mmengine keeps visualizers by name, and warns if one is asked for twice.
        config.visualizer.name = name
        config.merge_from_dict(changes)
        with self.quietly():
            return Runner.from_cfg(config)

    def test(self, runner: Runner) -> dict[str, float]:
        """Tests; returns the results by TinyPersonMetric's own names."""
        with self.quietly():
            metrics = runner.test()
        return {name.split("/")[1]: value for name, value in metrics.items()}


def draw_set(options: argparse.Namespace) -> SyntheticTinyPerson:
    """Draws the synthetic set into the work dir."""
    made = generate(
        options.work_dir / SET_FOLDER,
        num_train=options.train_images,
        num_val=options.val_images,
        image_size=(592, 464),
        size_range=(5, 32),
        people_per_image=(17, 51),
        distractors_per_image=(10, 34),
        merge_classes=True,
        seed=options.seed,
        overwrite=True,
        workers=min(2, os.cpu_count() or 1),
    )
    print(f"      train: {made.train}\n      val:   {made.val}")
    return made


def read_config(made: SyntheticTinyPerson, epochs: int | None, seed: int) -> Config:
    """Reads the shipped config and points it at the drawn set."""
    config = Config.fromfile(configs_folder() / CONFIG)
    root = f"{made.root}/"
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        config[loader].dataset.data_root = root
    for evaluator in ("val_evaluator", "test_evaluator"):
        config[evaluator].ann_file = str(made.val.annotation_file)
    config.randomness = dict(seed=seed)
    if epochs is not None:
        config.train_cfg.max_epochs = epochs
        config.default_hooks.checkpoint.interval = epochs
        config.param_scheduler[-1].end = config.param_scheduler[-1].T_max = epochs
    # The checkpoint is tested in a step of its own; not twice.
    config.train_cfg.val_begin = config.train_cfg.max_epochs + 1
    return config


def test_untrained(demo: Demo, estimate: FusionFactorEstimate) -> dict[str, float]:
    """Tests the network with its initial weights."""
    runner = demo.runner("untrained")
    for module in runner.model.modules():
        if isinstance(module, StatisticFusionFactor):
            module.set(estimate.factors)
    runner.model.init_weights()
    return demo.test(runner)


def train(demo: Demo) -> Path:
    """Trains with the shipped config; returns the last checkpoint."""
    runner = demo.runner("training")
    runner.register_hook(TrainingBar(), priority="VERY_LOW")
    with demo.quietly():
        runner.train()
    return Path((demo.work_dir / "training" / "last_checkpoint").read_text().strip())


def test_trained(demo: Demo, checkpoint: Path) -> tuple[dict[str, float], Path]:
    """Tests the checkpoint on tiles; returns the metrics and a folder.

    In the folder are ``detections.bbox.json`` on the tiles of ``tiles.json``, and
    ``merged.bbox.json`` on whole images, merged as the metric does it.
    """
    folder = demo.work_dir / "test"
    runner = demo.runner(
        "test",
        load_from=str(checkpoint),
        test_evaluator=dict(outfile_prefix=str(folder / "detections")),
    )
    metrics = demo.test(runner)
    runner.test_dataloader.dataset.save_tiles(folder / "tiles.json", overwrite=True)
    merged = merge_tiles(
        json.loads((folder / "detections.bbox.json").read_text()),
        json.loads((folder / "tiles.json").read_text()),
        json.loads(Path(demo.config.test_evaluator.ann_file).read_text())["images"],
    )
    write_json(folder / "merged.bbox.json", merged)
    return metrics, folder


def print_table(untrained: dict[str, float], trained: dict[str, float]) -> None:
    """Prints AP and MR before and after the training; -1 means nobody to find."""
    row = "      {:<22}{:>11}{:>9}  {:>11}{:>9}"
    print("\n" + row.format("people on held-out", "AP50", "AP50", "MR50", "MR50"))
    print(row.format("images, by size", *("untrained", "trained") * 2))
    for bucket, sizes in BUCKETS.items():
        values = [
            metrics[f"{kind}50_{bucket}"]
            for kind in ("AP", "MR")
            for metrics in (untrained, trained)
        ]
        cells = ["-" if value < 0 else f"{value:.3f}" for value in values]
        print(row.format(f"{bucket:<7}{sizes}", *cells))
    print("      average precision AP: high is good; miss rate MR: low is good")


def draw_pictures(
    options: argparse.Namespace, made: SyntheticTinyPerson, detections: Path
) -> None:
    """Draws the loss curve and the detections beside the ground truth."""
    pictures = options.work_dir / "pictures"
    draw_training_curve(
        find_scalars(options.work_dir / "training"), pictures / "losses.png"
    )
    samples = load_samples(
        made.val.annotation_file,
        detections,
        made.val.image_dir,
        options.pictures * IMAGES_PER_PICTURE,
        PICTURE_SCORE,
    )
    for first in range(0, len(samples), IMAGES_PER_PICTURE):
        draw_samples(
            samples[first : first + IMAGES_PER_PICTURE],
            pictures / f"detections_{first // IMAGES_PER_PICTURE + 1}.png",
            PICTURE_SCORE,
            "RetinaNet with S-α FPN on held-out images, tile by tile: ground truth "
            "(left), detections (right)",
        )


def run(options: argparse.Namespace, console: TextIO) -> int:
    """Runs all steps; returns the exit status."""
    start = time.perf_counter()
    pictures = options.work_dir / "pictures"
    pictures.mkdir(exist_ok=True)
    with announced(1, "drawing the synthetic set"):
        made = draw_set(options)
    for name, split in (("train", made.train), ("val", made.val)):
        if split.images == split.dense_images:
            what = f"all {name} images are dense, which the benchmark leaves out"
            print(f"demo: {what}: try a larger --{name}-images", file=sys.stderr)
            return 2
    config = read_config(made, options.epochs, options.seed)
    demo = Demo(config, options.work_dir, console)
    with announced(2, "estimating the fusion factors α from the boxes on its tiles"):
        with demo.quietly():
            estimate = estimate_from_config(config)
        print("      " + estimate.table().replace("\n", "\n      "))
        estimate.draw(pictures / "objects_per_level.png")
    with announced(3, "testing the untrained network"):
        untrained = test_untrained(demo, estimate)
    with announced(4, f"training ({config.train_cfg.max_epochs} epochs)"):
        checkpoint = train(demo)
    with announced(5, "testing the trained network"):
        trained, folder = test_trained(demo, checkpoint)
        print_table(untrained, trained)
    with announced(6, "drawing the pictures"):
        draw_pictures(options, made, folder / "merged.bbox.json")

    print(f"\npictures:    {pictures}")
    for picture in sorted(pictures.glob("*.png")):
        print(f"             {picture.name}")
    print(f"checkpoint:  {checkpoint}")
    print(f"detections:  {folder / 'merged.bbox.json'}")
    print(f"the whole demo took {(time.perf_counter() - start) / 60:.1f} minutes")
    return judge(trained[JUDGED], options.minimum_ap50)


def judge(reached: float, minimum: float) -> int:
    """Says whether the demo passed; returns the exit status."""
    if reached < minimum:
        print(
            f"demo: FAILED: {JUDGED} {reached:.3f} is below {minimum:g} "
            "(--minimum-ap50)",
            file=sys.stderr,
        )
        return 1
    print(f"demo: passed: {JUDGED} {reached:.3f}, at least {minimum:g} needed")
    return 0


def is_foreign(work_dir: Path) -> bool:
    """Tells a folder of something else from a new one and one of an earlier demo."""
    names = {path.name for path in work_dir.iterdir()} if work_dir.is_dir() else set()
    return bool(names - {OUTPUT_FILE, "pictures"}) and SET_FOLDER not in names


def main() -> int:
    """Prepares the work dir and the output; returns the exit status."""
    options = parse_arguments()
    options.work_dir = options.work_dir.resolve()
    if options.work_dir.is_file() or is_foreign(options.work_dir):
        message = "holds files that are not the demo's: give a new folder"
        print(f"demo: --work-dir {options.work_dir} {message}", file=sys.stderr)
        return 2
    options.work_dir.mkdir(parents=True, exist_ok=True)
    device = "the GPU" if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    print(f"fpn_necks {fpn_necks.__version__} demo on {device}, in {options.work_dir}")
    if options.verbose:
        return run(options, sys.stdout)
    with open(options.work_dir / OUTPUT_FILE, "w", buffering=1) as console:
        print(f"what mmdet prints goes to {OUTPUT_FILE} there")
        return run(options, console)


if __name__ == "__main__":
    sys.exit(main())
