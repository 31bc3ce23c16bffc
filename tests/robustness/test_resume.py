"""Every shipped config: a run is stopped, resumed, and its checkpoint used to detect.

mmengine saves no random state, so the tests give numpy, random and torch a seed of its
own for every image read and every step, in both runs. What is left must be equal bit by
bit.
"""

import copy
import random
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.shipped_configs import list_configs
from tests.tiny_detectors import detector_config, narrow_yolo, use_few_rois
from tests.tiny_sets import CLASSES, write_coco_set

register_all_modules()
# The core suite has one config by epochs, whose hook must keep α.
CORE = "faster-rcnn_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson"
CASES = [
    pytest.param(name, marks=() if CORE in name else pytest.mark.long)
    for name in list_configs()
]
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
    """Gives each image and each step its own seed; writes down what a step gave."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def before_train(self, runner: Runner) -> None:
        # Not in before_train_iter: its batch has been read by then, and a resumed loop
        # by iterations reads and drops the first ones.
        runner.train_dataloader.dataset.pipeline.transforms.insert(0, seed_by_image)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
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


def small_config(name: str, set_folder: Path, work_dir: Path) -> Config:
    """Return a shipped config, made small, with its own loop, hooks and schedules."""
    config = use_few_rois(detector_config(name, set_folder))
    if config.model.backbone.type == "Darknet":
        narrow_yolo(config)  # 0.5 GB for each of five checkpoints otherwise
    use_repeatable_samplers(config.model)
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
    by_iterations = "max_iters" in config.train_cfg
    if by_iterations:
        config.train_cfg.max_iters = STEPS
    else:
        config.train_cfg.max_epochs = EPOCHS
    config.default_hooks.checkpoint.interval = STEPS_PER_EPOCH if by_iterations else 1
    config.train_cfg.val_begin = STEPS + 1
    keep_weak_detections(config.model.get("test_cfg") or {})
    return PlainConfig(config.to_dict())


def use_repeatable_samplers(model: dict) -> None:
    """Change what mmdet's samplers of Libra R-CNN cannot repeat.

    That of negatives changes its floor_thr of -1 to 0 in its first call, which no
    checkpoint knows. That of positives takes sets of tensors, whose order is that of
    their places in memory: it varies under one seed and without any resuming.
    """
    stages = (model.get("train_cfg") or {}).get("rcnn", {})
    for stage in stages if isinstance(stages, list) else [stages]:
        sampler = stage.get("sampler", {})
        if sampler.get("type") == "CombinedSampler":
            sampler.pos_sampler.type = "RandomSampler"
            sampler.neg_sampler.floor_thr = 0


def keep_weak_detections(node: dict) -> None:
    """Nine steps learn nothing: without thresholds there are boxes to compare."""
    for key, value in node.items():
        if key in ("score_thr", "conf_thr"):
            node[key] = 0.0
        elif key == "max_per_img" and "score_thr" in node:
            node[key] = 20
        elif isinstance(value, dict):
            keep_weak_detections(value)


def train(config: Config, **changes: Any) -> tuple[Runner, list[dict[str, Any]]]:
    """Train as mmdet's tool does; return the runner, and what its steps gave."""
    config = copy.deepcopy(config)
    config.merge_from_dict(changes)
    # Runners of one process and one name share their message hub.
    config.experiment_name = f"run_{time.monotonic_ns()}"
    runner = Runner.from_cfg(config)
    recorder = StepRecorder()
    runner.register_hook(recorder)
    runner.train()
    return runner, recorder.steps


def detections(sample: Any) -> dict[str, Any]:
    instances = sample.pred_instances
    return {key: torch.as_tensor(instances[key]) for key in instances.keys()}


def check_empty_batch(model: torch.nn.Module, config: Config) -> list[str]:
    """Do a step on two images without objects; return who gets no gradient."""
    dataset = DATASETS.build(config.train_dataloader.dataset)
    empty = dataset[len(dataset) - 1]
    assert len(empty["data_samples"].gt_instances) == 0
    model.train()
    model.zero_grad()
    MessageHub.get_current_instance().update_info("iter", 0)
    batch = model.data_preprocessor(pseudo_collate([empty, empty]), True)
    total, values = model.parse_losses(model(**batch, mode="loss"))
    assert all(torch.isfinite(torch.as_tensor(v)).all() for v in values.values())
    total.backward()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad.isfinite().all() for p in trained.values() if p.grad is not None)
    return [key for key, p in trained.items() if p.grad is None]


def equal_states(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", CASES)
def test_resumes_bit_by_bit_and_detects(name: str, tmp_path: Path) -> None:
    """One run per config serves all: the time is that of building and training."""
    folder, work_dir = tmp_path / "set", tmp_path / "run"
    write_coco_set(folder, NUM_IMAGES, (192, 128), empty_last=True, num_upright=1)
    config = small_config(name, folder, work_dir)
    whole, steps = train(config)
    assert [step["iteration"] for step in steps] == list(range(STEPS))
    assert all(np.isfinite(x) for step in steps for x in step["losses"].values())
    counts = [count for step in steps for count in step["objects"]]
    assert min(counts) == 0 < max(counts), "both kinds of images are trained on"

    if "max_iters" in config.train_cfg:
        middle, last = (work_dir / f"iter_{n}.pth" for n in (STEPS_PER_EPOCH, STEPS))
    else:
        middle, last = (work_dir / f"epoch_{n}.pth" for n in (1, EPOCHS))
    resumed, resumed_steps = train(
        config, resume=True, load_from=str(middle), work_dir=str(tmp_path / "resumed")
    )
    assert resumed_steps == steps[STEPS_PER_EPOCH:]
    assert equal_states(whole.model, resumed.model)
    log, other = (r.message_hub.get_scalar("train/loss") for r in (whole, resumed))
    assert len(log.data[0]) == STEPS and np.array_equal(log.data[0], other.data[0])

    config_file = tmp_path / "config.py"
    config.dump(config_file)
    detector = init_detector(str(config_file), str(last), device="cpu")
    assert detector.dataset_meta["classes"] == CLASSES
    assert equal_states(whole.model, detector)
    for factor in detector.modules():
        if isinstance(factor, StatisticFusionFactor):
            assert factor.is_set and (factor.alpha >= 0).all()
    image = cv2.imread(str(folder / "images" / "0002.png"))
    found = detections(inference_detector(detector, image))
    tests = DATASETS.build(config.test_dataloader.dataset)
    trained = whole.model.eval()
    with torch.no_grad():
        wanted = detections(trained.test_step(pseudo_collate([tests[1]]))[0])
    # RTMDet's boxes have no extent before it is trained.
    assert len(wanted["scores"]) > 0 or "rtmdet" in name
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)

    unused = check_empty_batch(trained, config)
    # mmdet leaves the grid head out where no RoI is positive.
    assert bool(unused) == ("grid-rcnn" in name)
    assert all(key.startswith("roi_head.grid_head.") for key in unused)
    for checkpoint in tmp_path.rglob("*.pth"):
        checkpoint.unlink()  # pytest keeps the folders of three sessions
