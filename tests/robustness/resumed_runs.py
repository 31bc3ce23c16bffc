"""Runs of small shipped configs that are interrupted, and what their steps gave."""

import copy
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tests.tiny_detectors import detector_config, narrow_yolo, use_few_rois
from tests.tiny_sets import write_coco_set

# Five landscape images, the last without objects, and one upright: mmdet's batches hold
# one orientation, so which images come together depends on those read before.
NUM_IMAGES = 6
STEPS_PER_EPOCH = 3
EPOCHS = 3
STEPS = EPOCHS * STEPS_PER_EPOCH


class PlainConfig(Config):
    """A config whose text is not laid out: mmengine does that four times a run."""

    @property
    def pretty_text(self) -> str:
        return "".join(f"{k} = {v!r}\n" for k, v in self.to_dict().items())


class StepRecorder(Hook):
    """Writes down what each step read and gave; gives each step its own seed.

    Args:
        seeded: seed every image and every step. mmengine's own runs do not.
    """

    def __init__(self, seeded: bool = True) -> None:
        self.seeded = seeded
        self.steps: list[dict[str, Any]] = []

    def before_train(self, runner: Runner) -> None:
        if self.seeded:
            # Not in before_train_iter: its batch has been read by then, and a resumed
            # loop by iterations reads and drops the first ones.
            transforms = runner.train_dataloader.dataset.pipeline.transforms
            transforms.insert(0, seed_by_image)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        if self.seeded:
            seed_everything(1000 + runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: dict
    ) -> None:
        samples = data_batch["data_samples"]
        rates = [group["lr"] for group in runner.optim_wrapper.param_groups]
        self.steps.append(
            dict(
                iteration=runner.iter,
                epoch=runner.epoch,
                images=[sample.img_id for sample in samples],
                objects=[len(sample.gt_instances) for sample in samples],
                losses={key: float(value.detach()) for key, value in outputs.items()},
                rates=sorted(set(rates)),
            )
        )


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_by_image(results: dict) -> dict:
    seed_everything(results["img_id"])
    return results


@dataclass
class Run:
    """A finished run: its runner, and what its steps gave."""

    runner: Runner
    steps: list[dict[str, Any]]


@dataclass
class Interrupted:
    """A run that went through, and where it left its checkpoints."""

    config: Config
    whole: Run
    middle: Path
    last: Path
    set_folder: Path


def small_config(name: str, set_folder: Path, work_dir: Path) -> Config:
    """Return a shipped config, made small, with its own loop, hooks and schedules."""
    config = use_few_rois(detector_config(name, set_folder))
    if config.model.backbone.type == "Darknet":
        narrow_yolo(config)  # 0.5 GB for each of five checkpoints otherwise
    _use_repeatable_samplers(config.model)
    config.work_dir = str(work_dir)
    train = config.train_dataloader
    train.batch_size = 2
    if train.get("batch_sampler"):
        # With it mmdet's sampler drops a last batch that is full as well.
        train.batch_sampler.pop("drop_last", None)
    preprocessor = config.model.data_preprocessor
    if preprocessor.get("std") == [1.0] * 3:
        # Frozen norms of random weights do not bring pixels of 0 to 255 to unit scale.
        preprocessor.std = [58.0] * 3
    train.dataset.filter_cfg = dict(filter_empty_gt=False)
    for dataset in (train.dataset, config.test_dataloader.dataset):
        if dataset.get("tiles"):
            dataset.tiles.size = (192, 192)  # an image is one tile
    if "max_iters" in config.train_cfg:
        config.train_cfg.max_iters = STEPS
        config.default_hooks.checkpoint.interval = STEPS_PER_EPOCH
    else:
        config.train_cfg.max_epochs = EPOCHS
        config.default_hooks.checkpoint.interval = 1
    config.train_cfg.val_begin = STEPS + 1
    _keep_weak_detections(config.model.get("test_cfg") or {})
    return config


def _use_repeatable_samplers(model: dict) -> None:
    """Change what mmdet's samplers of Libra R-CNN cannot repeat.

    That of negatives changes its floor_thr of -1 to 0 in its first call, which no
    checkpoint knows. That of positives takes sets of tensors, whose order is that of
    their places in memory: it varies under one seed and without any resuming.
    """
    stages = (model.get("train_cfg") or {}).get("rcnn", {})
    for stage in stages if isinstance(stages, list) else [stages]:
        sampler = stage.get("sampler", {})
        if sampler.get("type") == "CombinedSampler":
            assert sampler.pos_sampler.type == "InstanceBalancedPosSampler"
            assert sampler.neg_sampler.type == "IoUBalancedNegSampler"
            sampler.pos_sampler.type = "RandomSampler"
            sampler.neg_sampler.floor_thr = 0


def _keep_weak_detections(node: dict) -> None:
    """Nine steps learn nothing: without thresholds there are boxes to compare."""
    for key, value in node.items():
        if key in ("score_thr", "conf_thr"):
            node[key] = 0.0
        elif key == "max_per_img" and "score_thr" in node:
            node[key] = 20
        elif isinstance(value, dict):
            _keep_weak_detections(value)


def train(config: Config, seeded: bool = True, **changes: Any) -> Run:
    """Train as mmdet's tool does: a Runner from a config, shared with nobody."""
    config = copy.deepcopy(config)
    config.merge_from_dict(changes)
    # Runners of one process and one name share their message hub.
    config.experiment_name = f"run_{time.monotonic_ns()}"
    runner = Runner.from_cfg(config)
    recorder = StepRecorder(seeded)
    runner.register_hook(recorder)
    runner.train()
    return Run(runner, recorder.steps)


def train_whole(name: str, folder: Path, plain: bool = True) -> Interrupted:
    """Train without interruption, with checkpoints after 3 and 9 steps."""
    write_coco_set(
        folder / "set", NUM_IMAGES, (192, 128), empty_last=True, num_upright=1
    )
    config = small_config(name, folder / "set", folder / "run")
    if plain:
        config = PlainConfig(config.to_dict())
    whole = train(config)
    if "max_iters" in config.train_cfg:
        ends = [f"iter_{STEPS_PER_EPOCH}.pth", f"iter_{STEPS}.pth"]
    else:
        ends = ["epoch_1.pth", f"epoch_{EPOCHS}.pth"]
    middle, last = (folder / "run" / end for end in ends)
    return Interrupted(config, whole, middle, last, folder / "set")


def resume(
    run: Interrupted, checkpoint: Path | None = None, seeded: bool = True
) -> Run:
    """Go on from a checkpoint, into another folder."""
    middle = checkpoint or run.middle
    return train(
        run.config,
        seeded,
        resume=True,
        load_from=str(middle),
        work_dir=str(middle.parent / "resumed"),
    )
