"""A process is killed: torchrun starts all again, and nothing but its steps is lost."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from tests.distributed.cases import take_few_boxes
from tests.distributed.torchrun import torchrun
from tests.tiny_detectors import detector_config
from tests.tiny_sets import write_coco_set

IMAGES = 12
IMAGE_SIZE = (96, 64)  # (width, height) in pixels
PROCESSES = 2
EPOCHS = 5
STEPS_PER_EPOCH = IMAGES // PROCESSES // 2  # two images per process and step
STEPS = 12  # of the training that counts steps; a checkpoint after every third


def by_epochs(data: Path, folder: Path) -> Config:
    """Return a training that counts epochs, with a checkpoint after each."""
    config = detector_config("faster-rcnn_r50_s-alpha-fpn_1x_coco", data)
    config.train_cfg.max_epochs = EPOCHS
    return prepared(config, folder)


def by_steps(data: Path, folder: Path) -> Config:
    """Return a training that counts steps."""
    config = detector_config("retinanet_r50_s-alpha-fpn_1x_coco", data)
    config.train_cfg = dict(type="IterBasedTrainLoop", max_iters=STEPS)
    config.default_hooks.checkpoint.merge(dict(by_epoch=False, interval=3))
    config.log_processor.by_epoch = False
    # Going on, mmengine loads what was seen before once more and throws it away; the
    # first step's images would be flipped by other random numbers.
    for transform in config.train_dataloader.dataset.pipeline:
        if transform.type == "RandomFlip":
            transform.prob = 0.0
    return prepared(config, folder)


def prepared(config: Config, folder: Path) -> Config:
    for name in ("val", "test"):
        for part in ("cfg", "dataloader", "evaluator"):
            config[f"{name}_{part}"] = None
    take_few_boxes(config.model.train_cfg)
    for transform in config.train_dataloader.dataset.pipeline:
        if transform.type == "Resize":
            transform.scale = IMAGE_SIZE
    config.work_dir = str(folder)
    config.custom_imports.imports.append("tests.distributed.failures")
    config.custom_hooks = [*config.custom_hooks, dict(type="ReseedHook")]
    return config


def kill(config: Config, step: int, marker: Path) -> None:
    """Let the second process end before a step."""
    config.custom_hooks.append(
        dict(type="KillHook", step=step, rank=1, marker=str(marker))
    )


def kill_while_writing(config: Config, name: str, marker: Path) -> None:
    """Let the first process end in the middle of a checkpoint."""
    config.default_hooks.checkpoint.backend_args = dict(
        backend="half-writing", file_name=name, marker=str(marker)
    )


def train(configs: list[Config], max_restarts: int) -> str:
    """Train in the processes of one start; return what they print."""
    files = []
    for config in configs:
        folder = Path(config.work_dir)
        folder.mkdir(parents=True)
        config.dump(folder / "started.py")
        files.append(str(folder / "started.py"))
    words = ("-m", "tests.distributed.resuming_worker", *files)
    return torchrun(PROCESSES, *words, max_restarts=max_restarts)


def steps_of(output: str) -> Counter:
    """Count how often the log has each step: (epoch, step in it) or step."""
    epochs = re.findall(r"Epoch\(train\)\s+\[(\d+)\]\[(\d+)/\d+\]", output)
    steps = re.findall(r"Iter\(train\)\s+\[\s*(\d+)/\d+\]", output)
    return Counter((int(e), int(s)) for e, s in epochs) + Counter(map(int, steps))


def assert_same_end(one: Path, other: Path) -> None:
    """Assert that two checkpoints have the same weights, momenta and schedules."""
    first, second = (torch.load(path, weights_only=False) for path in (one, other))
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key
    states = [checkpoint["optimizer"]["state"] for checkpoint in (first, second)]
    assert states[0].keys() == states[1].keys() and states[0]
    for index, state in states[0].items():
        buffer = state["momentum_buffer"]
        assert torch.equal(buffer, states[1][index]["momentum_buffer"]), index
    assert first["param_schedulers"] == second["param_schedulers"]
    assert first["meta"]["iter"] == second["meta"]["iter"]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_killed_processes_start_again_and_lose_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "set"
    write_coco_set(data, num_images=IMAGES)
    once = [by_epochs(data, tmp_path / "a"), by_steps(data, tmp_path / "b")]
    whole = steps_of(train(once, max_restarts=0))
    assert len(whole) == EPOCHS * STEPS_PER_EPOCH + STEPS
    assert set(whole.values()) == {1}

    epochs, steps = by_epochs(data, tmp_path / "c"), by_steps(data, tmp_path / "d")
    kill(epochs, 2 * STEPS_PER_EPOCH + 1, tmp_path / "in the third epoch")
    kill_while_writing(epochs, "epoch_4.pth", tmp_path / "in the fourth checkpoint")
    kill(steps, 7, tmp_path / "after a step since the second checkpoint")
    output = train([epochs, steps], max_restarts=3)
    assert len([*tmp_path.glob("in the *")]) == 2 and len([*tmp_path.glob("after*")])

    repeated = {key: count for key, count in steps_of(output).items() if count > 1}
    fourth = {(4, step + 1): 2 for step in range(STEPS_PER_EPOCH)}
    assert repeated == {(3, 1): 2, **fourth, 7: 2}
    assert steps_of(output).keys() == whole.keys()
    resumed = re.findall(r"resumed epoch: (\d+), iter: (\d+)", output)
    # In its last start the first training is finished and stays as it is.
    expected = [(2, 6), (3, 9), (EPOCHS, EPOCHS * STEPS_PER_EPOCH), (0, 6)]
    assert [(int(e), int(i)) for e, i in resumed][:3] == expected[:3]
    assert int(resumed[3][1]) == 6 and len(resumed) == 4
    # The fusion factors are counted once, and come from the checkpoint from then on.
    assert output.count("fusion factors of the checkpoint are kept") == 4
    assert output.count("fusion factors set from the training set") == 2

    assert_same_end(tmp_path / "a" / "epoch_5.pth", tmp_path / "c" / "epoch_5.pth")
    assert_same_end(tmp_path / "b" / "iter_12.pth", tmp_path / "d" / "iter_12.pth")
