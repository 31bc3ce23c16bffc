"""What of a user's changes makes a number incomparable."""

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from fpn_necks.reproduction import comparability
from fpn_necks.reproduction.comparability import (
    count_images,
    deviations,
    evaluated_split,
    kinds,
)
from fpn_necks.reproduction.configs import load_config, merge_options, set_data_root

NAME = "mmdet::retinanet/retinanet_r50_fpn_1x_coco"


def found(options: dict[str, Any], world_size: int = 8) -> list[str]:
    config = load_config(NAME, {})
    merge_options(config, options)
    return deviations(load_config(NAME, {}), config, world_size)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("train_dataloader.dataset.data_root", "elsewhere/", "data set"),
        ("train_dataloader.dataset.indices", 10, "data set"),
        ("val_dataloader.dataset.ann_file", "other.json", "data set"),
        ("val_evaluator.ann_file", "other.json", "data set"),
        ("val_evaluator.proposal_nums", [1], "evaluation"),
        ("train_dataloader.dataset.pipeline.2.scale", (600, 400), "image size"),
        ("val_dataloader.dataset.pipeline.1.scale", (600, 400), "image size"),
        ("train_dataloader.dataset.pipeline.3.prob", 0.0, "pipeline"),
        ("train_cfg.max_epochs", 1, "schedule"),
        ("param_scheduler.1.milestones", [1, 2], "schedule"),
        ("optim_wrapper.optimizer.lr", 1.0, "learning rate"),
        ("optim_wrapper.clip_grad", dict(max_norm=1), "optimizer"),
        ("model.backbone.init_cfg", None, "initial weights"),
        ("load_from", "weights.pth", "initial weights"),
        ("model.neck.out_channels", 64, "model"),
        ("custom_hooks", [dict(type="EMAHook")], "hooks"),
        ("train_dataloader.batch_size", 1, "batch"),
    ],
)
def test_what_changes_a_result(key: str, value: Any, kind: str) -> None:
    assert kinds(found({key: value})) == kind


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_dataloader.num_workers", 9),
        ("val_dataloader.persistent_workers", False),
        ("default_hooks.logger.interval", 1),
        ("default_hooks.checkpoint.interval", 3),
        ("train_cfg.val_interval", 4),
        ("test_dataloader.dataset.data_root", "unused/"),
        ("model.backbone.with_cp", True),
        ("env_cfg.cudnn_benchmark", True),
        ("randomness", dict(seed=5)),
    ],
)
def test_what_does_not(key: str, value: Any) -> None:
    assert found({key: value}) == []


def test_another_number_of_gpus_alone_is_comparable() -> None:
    assert found({}, world_size=1) == []
    assert found({"train_dataloader.batch_size": 16}, world_size=1) == []
    assert kinds(found({"train_dataloader.batch_size": 4}, world_size=1)) == "batch"


def test_but_not_where_the_schedule_counts_iterations() -> None:
    name = "s_alpha_fpn/retinanet_r50_s-alpha-fpn_8xb4-sm-45k_coco"
    config = load_config(name, {})
    assert "max_iters" in config.train_cfg
    assert deviations(config, config, 8, evaluate=False) == []
    assert kinds(deviations(config, config, 1, evaluate=False)) == "batch"


def test_the_same_data_in_another_place_is_comparable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, moved = load_config(NAME, {}), load_config(NAME, {})
    set_data_root(moved, str(tmp_path))
    assert kinds(deviations(own, moved, 8)) == "data set"
    (tmp_path / "annotations").mkdir()
    sizes = {"instances_train2017.json": 3, "instances_val2017.json": 2}
    for name, count in sizes.items():
        images = [dict(id=i, file_name=f"{i}.jpg") for i in range(count)]
        path = tmp_path / "annotations" / name
        path.write_text(json.dumps(dict(images=images, annotations=[dict(id=1)])))
        assert count_images(path) == count
    assert kinds(deviations(own, moved, 8)) == "data set"  # COCO has more images
    monkeypatch.setattr(comparability, "IMAGES", sizes)
    assert deviations(own, moved, 8) == []
    moved.train_dataloader.dataset.filter_cfg.min_size = 1
    assert kinds(deviations(own, moved, 8)) == "data set"


def test_a_config_that_evaluates_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="neither val_evaluator nor test_evaluator"):
        evaluated_split(Config(dict(val_dataloader=dict(), test_evaluator=None)))
