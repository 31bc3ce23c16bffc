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
from pathlib import Path
from typing import Any, TextIO

import torch
from demo_pictures import draw_detections, draw_losses
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
from fpn_necks.statistics import estimate_from_config

CONFIG = "s_alpha_fpn/retinanet_r18_s-alpha-fpn_demo_synthetic-tiny-person.py"
CLONE = Path(__file__).resolve().parent.parent
OUTPUT_FILE = "mmdet_output.txt"
SET_FOLDER = "synthetic_tiny_person"
PICTURE_SCORE = 0.35

# Rows of the table: TinyPersonMetric's buckets and their sizes, sqrt(area), in pixels.
BUCKETS = {
    "tiny": "up to 20 px",
    "tiny1": "up to 8 px",
    "tiny2": "8 to 12 px",
    "tiny3": "12 to 20 px",
    "small": "20 to 32 px",
}
DECISIVE = "AP50_tiny"


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
    least = dict(train_images=1, val_images=1, epochs=1, pictures=1, seed=0)
    for name, number in least.items():
        value = getattr(options, name)
        if value is not None and value < number:
            option = name.replace("_", "-")
            parser.error(f"--{option} must be at least {number}, got {value}")
    return options


@contextlib.contextmanager
def announced(number: int, what: str) -> Iterator[None]:
    """Prints a step's name before it and its duration after it."""
    print(f"\n[{number}/6] {what}", flush=True)
    start = time.perf_counter()
    yield
    print(f"      done in {time.perf_counter() - start:.0f} s", flush=True)


class TrainingBar(Hook):
    """Shows the training as one bar with the loss and the time left."""

    def before_train(self, runner: Runner) -> None:
        """Opens the bar."""
        # Where the output is a file every refresh is a line: make them few.
        interval = 0.5 if sys.stderr.isatty() else 15
        self.bar = tqdm(
            total=runner.max_iters, desc="training", unit="step", mininterval=interval
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: dict
    ) -> None:
        """Moves the bar by one step."""
        self.bar.set_postfix(loss=f"{outputs['loss'].item():.3f}", refresh=False)
        self.bar.update()

    def after_train(self, runner: Runner) -> None:
        """Closes the bar."""
        self.bar.close()


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
    for split in ("train", "val", "test"):
        config[f"{split}_dataloader"].dataset.data_root = f"{made.root}/"
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


def make_runner(config: Config, work_dir: Path, **changes: Any) -> Runner:
    """Builds mmengine's Runner as mmdet's tools do, in a work dir of its own."""
    config = config.copy()
    config.work_dir = str(work_dir)
    # mmengine keeps visualizers by name, and warns if one is asked for twice.
    config.visualizer.name = work_dir.name
    config.merge_from_dict(changes)
    runner = Runner.from_cfg(config)
    runner.model.to(memory_format=torch.channels_last)  # faster on a processor
    return runner


def test(runner: Runner) -> dict[str, float]:
    """Tests; returns the results by TinyPersonMetric's own names."""
    return {name.split("/")[1]: value for name, value in runner.test().items()}


def test_trained(config: Config, folder: Path, checkpoint: str) -> dict[str, float]:
    """Tests the checkpoint on tiles; returns the metrics.

    Writes ``detections.bbox.json`` on the tiles of ``tiles.json``, and
    ``merged.bbox.json`` on whole images, merged as the metric does it.
    """
    evaluator = dict(outfile_prefix=str(folder / "detections"))
    runner = make_runner(config, folder, load_from=checkpoint, test_evaluator=evaluator)
    metrics = test(runner)
    runner.test_dataloader.dataset.save_tiles(folder / "tiles.json", overwrite=True)
    merged = merge_tiles(
        json.loads((folder / "detections.bbox.json").read_text()),
        json.loads((folder / "tiles.json").read_text()),
        json.loads(Path(config.test_evaluator.ann_file).read_text())["images"],
    )
    write_json(folder / "merged.bbox.json", merged)
    return metrics


def print_table(untrained: dict[str, float], trained: dict[str, float]) -> None:
    """Prints AP and MR before and after the training; -1 means nobody to find."""
    row = "      {:<22}{:>11}{:>9}  {:>11}{:>9}"
    print("\n" + row.format("people on held-out", "AP50", "AP50", "MR50", "MR50"))
    print(row.format("images, by size", *("untrained", "trained") * 2))
    for bucket, sizes in BUCKETS.items():
        names = [f"{kind}50_{bucket}" for kind in ("AP", "MR")]
        values = [found[name] for name in names for found in (untrained, trained)]
        cells = ["-" if value < 0 else f"{value:.3f}" for value in values]
        print(row.format(f"{bucket:<7}{sizes}", *cells))
    print("      average precision AP: high is good; miss rate MR: low is good")


def run(options: argparse.Namespace, console: TextIO) -> int:
    """Runs all steps; returns the exit status.

    Args:
        options: of the command line.
        console: where mmdet's and mmengine's output goes.
    """
    start = time.perf_counter()
    work_dir, pictures = options.work_dir, options.work_dir / "pictures"
    pictures.mkdir(exist_ok=True)
    quietly = contextlib.redirect_stdout
    with announced(1, "drawing the synthetic set"):
        made = draw_set(options)
    for name, split in (("train", made.train), ("val", made.val)):
        if split.images == split.dense_images:
            what = f"all {name} images are dense, which the benchmark leaves out"
            print(f"demo: {what}: try a larger --{name}-images", file=sys.stderr)
            return 2
    config = read_config(made, options.epochs, options.seed)
    with announced(2, "estimating the fusion factors α from the boxes on its tiles"):
        with quietly(console):
            estimate = estimate_from_config(config)
        print("      " + estimate.table().replace("\n", "\n      "))
        estimate.draw(pictures / "objects_per_level.png")
    with announced(3, "testing the untrained network"), quietly(console):
        runner = make_runner(config, work_dir / "untrained")
        for module in runner.model.modules():
            if isinstance(module, StatisticFusionFactor):
                module.set(estimate.factors)
        runner.model.init_weights()
        untrained = test(runner)
    with announced(4, f"training ({config.train_cfg.max_epochs} epochs)"):
        with quietly(console):
            runner = make_runner(config, work_dir / "training")
            runner.register_hook(TrainingBar(), priority="VERY_LOW")
            runner.train()
        checkpoint = (work_dir / "training" / "last_checkpoint").read_text().strip()
    with announced(5, "testing the trained network"):
        with quietly(console):
            trained = test_trained(config, work_dir / "test", checkpoint)
        print_table(untrained, trained)
    detections = work_dir / "test" / "merged.bbox.json"
    with announced(6, "drawing the pictures"):
        draw_losses(work_dir / "training", pictures / "losses.png")
        draw_detections(
            json.loads(made.val.annotation_file.read_text()),
            json.loads(detections.read_text()),
            made.val.image_dir,
            [pictures / f"detections_{i + 1}.png" for i in range(options.pictures)],
            PICTURE_SCORE,
        )

    print(f"\npictures:    {pictures}")
    for picture in sorted(pictures.glob("*.png")):
        print(f"             {picture.name}")
    print(f"checkpoint:  {checkpoint}\ndetections:  {detections}")
    print(f"the whole demo took {(time.perf_counter() - start) / 60:.1f} minutes")
    return verdict(trained[DECISIVE], options.minimum_ap50)


def verdict(reached: float, minimum: float) -> int:
    """Says whether the demo passed; returns the exit status."""
    if reached < minimum:
        words = f"{DECISIVE} {reached:.3f} is below {minimum:g} (--minimum-ap50)"
        print(f"demo: FAILED: {words}", file=sys.stderr)
        return 1
    print(f"demo: passed: {DECISIVE} {reached:.3f}, at least {minimum:g} needed")
    return 0


def main() -> int:
    """Prepares the work dir and the output; returns the exit status."""
    options = parse_arguments()
    work_dir = options.work_dir = options.work_dir.resolve()
    names = {path.name for path in work_dir.iterdir()} if work_dir.is_dir() else set()
    is_foreign = names - {OUTPUT_FILE, "pictures"} and SET_FOLDER not in names
    if work_dir.is_file() or is_foreign:
        message = "holds files that are not the demo's: give a new folder"
        print(f"demo: --work-dir {work_dir} {message}", file=sys.stderr)
        return 2
    work_dir.mkdir(parents=True, exist_ok=True)
    device = "the GPU" if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    print(f"fpn_necks {fpn_necks.__version__} demo on {device}, in {work_dir}")
    if options.verbose:
        return run(options, sys.stdout)
    with open(work_dir / OUTPUT_FILE, "w", buffering=1) as console:
        print(f"what mmdet prints goes to {OUTPUT_FILE} there")
        return run(options, console)


if __name__ == "__main__":
    sys.exit(main())
