"""Every shipped config: a run is stopped, resumed, and its checkpoint used to detect.

mmengine saves no random state, so the tests give numpy, random and torch a seed of its
own for every image read and every step, in both runs. What is left must be equal bit by
bit. ``TestWithout`` shows that it is not without that, or without a part of the file.
"""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
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
from mmengine.logging import MessageHub

from fpn_necks.checkpoints import read_checkpoint
from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.shipped_configs import list_configs
from tests.robustness.resumed_runs import (
    NUM_IMAGES,
    STEPS,
    STEPS_PER_EPOCH,
    Interrupted,
    PlainConfig,
    resume,
    small_config,
    train,
    train_whole,
)
from tests.tiny_sets import CLASSES, write_coco_set

register_all_modules()
CONFIGS = list_configs()
STATISTIC = "faster-rcnn_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson"
BY_ITERATION = "retinanet_r50_s-alpha-fpn_8xb4-sm-45k_coco"
# The core suite has one config by epochs, whose hook must keep α.
CASES = [
    pytest.param(name, marks=() if STATISTIC in name else pytest.mark.long)
    for name in CONFIGS
]


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
    parameters = dict(model.named_parameters())
    trained = {key: p for key, p in parameters.items() if p.requires_grad}
    assert all(p.grad.isfinite().all() for p in trained.values() if p.grad is not None)
    return [key for key, p in trained.items() if p.grad is None]


def equal_states(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", CASES)
def test_resumes_bit_by_bit_and_detects(name: str, tmp_path: Path) -> None:
    """One run per config serves all: the time is that of building and training."""
    run = train_whole(name, tmp_path)
    whole = run.whole
    assert [step["iteration"] for step in whole.steps] == list(range(STEPS))
    assert all(
        np.isfinite(value) for step in whole.steps for value in step["losses"].values()
    )
    counts = [count for step in whole.steps for count in step["objects"]]
    assert min(counts) == 0 < max(counts), "both kinds of images are trained on"

    resumed = resume(run)
    expected = whole.steps[STEPS_PER_EPOCH:]
    assert len(expected) >= 5
    assert resumed.steps == expected
    assert equal_states(whole.runner.model, resumed.runner.model)
    log, other = (
        each.runner.message_hub.get_scalar("train/loss") for each in (whole, resumed)
    )
    assert len(log.data[0]) == STEPS and np.array_equal(log.data[0], other.data[0])

    config_file = tmp_path / "config.py"
    run.config.dump(config_file)
    detector = init_detector(str(config_file), str(run.last), device="cpu")
    assert detector.dataset_meta["classes"] == CLASSES
    assert equal_states(whole.runner.model, detector)
    for factor in detector.modules():
        if isinstance(factor, StatisticFusionFactor):
            assert factor.is_set and (factor.alpha >= 0).all()
    image = cv2.imread(str(run.set_folder / "images" / "0002.png"))
    found = detections(inference_detector(detector, image))
    tests = DATASETS.build(run.config.test_dataloader.dataset)
    trained = whole.runner.model.eval()
    with torch.no_grad():
        wanted = detections(trained.test_step(pseudo_collate([tests[1]]))[0])
    # RTMDet's boxes have no extent before it is trained.
    assert len(wanted["scores"]) > 0 or "rtmdet" in name
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)

    unused = check_empty_batch(trained, run.config)
    # mmdet leaves the grid head out where no RoI is positive.
    assert bool(unused) == ("grid-rcnn" in name)
    assert all(key.startswith("roi_head.grid_head.") for key in unused)
    for checkpoint in tmp_path.rglob("*.pth"):
        checkpoint.unlink()  # pytest keeps the folders of three sessions


@pytest.fixture(scope="module")
def statistic(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    return train_whole(STATISTIC, tmp_path_factory.mktemp("statistic"), plain=False)


@pytest.mark.long
class TestWithout:
    """The comparison of losses notices what a resumed run lacks."""

    @pytest.fixture
    def content(self, statistic: Interrupted) -> dict[str, Any]:
        return read_checkpoint(statistic.middle)

    def resumed(
        self, run: Interrupted, content: dict, folder: Path
    ) -> Iterator[tuple[dict, dict]]:
        changed = folder / "changed.pth"
        torch.save(content, changed)
        return zip(
            resume(run, changed).steps, run.whole.steps[STEPS_PER_EPOCH:], strict=True
        )

    @pytest.mark.parametrize("key", ["optimizer", "param_schedulers"])
    def test_state(
        self, statistic: Interrupted, content: dict, key: str, tmp_path: Path
    ) -> None:
        del content[key]
        pairs = list(self.resumed(statistic, content, tmp_path))
        assert pairs[-1][0]["images"] == pairs[-1][1]["images"]
        assert pairs[-1][0]["losses"] != pairs[-1][1]["losses"]

    def test_fusion_factors(
        self, statistic: Interrupted, content: dict, tmp_path: Path
    ) -> None:
        """Were α counted anew, the file's would make no difference."""
        content["state_dict"]["neck.fusion_factor.alpha"] *= 1.5
        pairs = list(self.resumed(statistic, content, tmp_path))
        assert pairs[0][0]["losses"] != pairs[0][1]["losses"]

    def test_seeds_of_the_steps(self, statistic: Interrupted, tmp_path: Path) -> None:
        """The order of images is mmengine's to keep, the random numbers nobody's."""
        config = copy.deepcopy(statistic.config)
        config.work_dir = str(tmp_path)
        whole = train(config, seeded=False)
        run = Interrupted(
            config, whole, tmp_path / "epoch_1.pth", tmp_path / "epoch_3.pth", tmp_path
        )
        resumed = resume(run, seeded=False)
        expected = whole.steps[STEPS_PER_EPOCH:]
        assert [s["images"] for s in resumed.steps] == [s["images"] for s in expected]
        assert [s["losses"] for s in resumed.steps] != [s["losses"] for s in expected]


@pytest.mark.long
@pytest.mark.parametrize("name", [STATISTIC, BY_ITERATION])
def test_without_a_seed_of_the_config_the_order_changes(
    name: str, tmp_path: Path
) -> None:
    """mmengine restores the seed after it has built the sampler."""
    write_coco_set(tmp_path / "set", NUM_IMAGES, (192, 128), num_upright=1)
    config = small_config(name, tmp_path / "set", tmp_path / "run")
    by_iteration = "max_iters" in config.train_cfg
    config.train_cfg["max_iters" if by_iteration else "max_epochs"] = 1
    config.default_hooks.checkpoint.interval = 1
    config.randomness = dict(seed=None)
    config = PlainConfig(config.to_dict())
    first = train(config).runner
    end = tmp_path / "run" / ("iter_1.pth" if by_iteration else "epoch_1.pth")
    resumed = train(config, resume=True, load_from=str(end)).runner
    assert resumed.seed == first.seed
    samplers = [r.train_dataloader.batch_sampler.sampler for r in (first, resumed)]
    assert samplers[0].seed != samplers[1].seed


@pytest.mark.long
def test_in_another_process(statistic: Interrupted, tmp_path: Path) -> None:
    """Resumed where nothing was imported before; detects knowing mmdet alone."""
    config = copy.deepcopy(statistic.config)
    config.merge_from_dict(
        dict(resume=True, load_from=str(statistic.middle), work_dir=str(tmp_path))
    )
    config.dump(tmp_path / "config.py")
    output = _python(RESUME, tmp_path / "config.py")
    assert json.loads(output) == statistic.whole.steps[STEPS_PER_EPOCH:]

    image = statistic.set_folder / "images" / "0002.png"
    output = _python(DETECT, tmp_path / "config.py", statistic.last, image)
    whole = statistic.whole.runner.model.eval()
    whole.cfg = statistic.config
    wanted = inference_detector(whole, cv2.imread(str(image))).pred_instances
    assert json.loads(output) == wanted.scores.tolist() != []


RESUME = """
import json, sys
from mmengine.config import Config
from tests.robustness.resumed_runs import train
print(json.dumps(train(Config.fromfile(sys.argv[1])).steps))
"""
DETECT = """
import json, sys
import cv2
from mmdet.apis import inference_detector, init_detector
detector = init_detector(sys.argv[1], sys.argv[2], device="cpu")
found = inference_detector(detector, cv2.imread(sys.argv[3])).pred_instances
print(json.dumps(found.scores.tolist()))
"""


def _python(script: str, *arguments: object) -> str:
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout.splitlines()[-1]
