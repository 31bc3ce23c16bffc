"""What makes a number incomparable; where the data lie does not."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from fpn_necks.config_tools import load_config, merge_options
from fpn_necks.reproduction import compare
from fpn_necks.reproduction.compare import (
    datasets,
    deviations,
    differences,
    evaluated_split,
    evaluators,
    flatten,
    sections_of,
    settings,
)
from fpn_necks.reproduction.plan import set_data_root

NAME = "mmdet::retinanet/retinanet_r50_fpn_1x_coco"


OWN = load_config(NAME)


def found(options: dict[str, Any], world_size: int = 8) -> list[str]:
    config = copy.deepcopy(OWN)
    merge_options(config, options)
    return deviations(OWN, config, world_size)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_dataloader.dataset.indices", 10),
        ("val_dataloader.dataset.ann_file", "other.json"),
        ("val_evaluator.ann_file", "other.json"),
        ("val_evaluator.proposal_nums", [1]),
        ("train_dataloader.dataset.pipeline.2.scale", (600, 400)),
        ("train_cfg.max_epochs", 1),
        ("param_scheduler.1.milestones", [1, 2]),
        ("optim_wrapper.optimizer.lr", 1.0),
        ("model.backbone.init_cfg", None),
        ("load_from", "weights.pth"),
        ("custom_hooks", [dict(type="EMAHook")]),
    ],
)
def test_what_changes_a_result(key: str, value: Any) -> None:
    (change, *_) = changes = found({key: value})
    assert change.startswith(f"{key}") and sections_of(changes) == key.split(".")[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_dataloader.num_workers", 9),
        ("val_dataloader.persistent_workers", False),
        ("default_hooks.logger.interval", 1),
        ("default_hooks.checkpoint.interval", 3),
        ("train_cfg.val_interval", 4),
        ("train_dataloader.dataset.data_root", "/disk/of/another/machine/"),
        ("val_evaluator.ann_file", "/disk/annotations/instances_val2017.json"),
        ("test_dataloader.dataset.ann_file", "unused.json"),
        ("model.backbone.with_cp", True),
        ("env_cfg.cudnn_benchmark", True),
        ("randomness", dict(seed=5)),
    ],
)
def test_what_does_not(key: str, value: Any) -> None:
    assert found({key: value}) == []


def test_another_number_of_gpus_alone_is_comparable() -> None:
    """But not where the schedule counts iterations."""
    assert found({}, world_size=1) == []
    assert found({"train_dataloader.batch_size": 16}, world_size=1) == []
    batch = found({"train_dataloader.batch_size": 4}, world_size=1)
    assert batch == ["batch of 4 images per step, the row has 16"]
    name = "s_alpha_fpn/retinanet_r50_s-alpha-fpn_8xb4-sm-45k_coco"
    config = load_config(name)
    assert "max_iters" in config.train_cfg
    assert deviations(config, config, 8, evaluate=False) == []
    assert sections_of(deviations(config, config, 1, evaluate=False)) == "batch"


@pytest.mark.parametrize(
    "name",
    [
        "asff/retinanet_r50_asff_1x_coco",
        "s_alpha_fpn/retinanet_r50_s-alpha-fpn_1xb2-1x_tinyperson",
        "s_alpha_fpn/retinanet_r50_s-alpha-fpn_1xb2-1x_tinycitypersons",
    ],
)
def test_data_in_another_place_are_the_same_run(name: str) -> None:
    """Also those whose number of images is not known, such as Tiny CityPersons."""
    own, moved = load_config(name), load_config(name)
    set_data_root(moved, "/disk/of another/machine")
    assert flatten(own) != flatten(moved)
    assert settings(own, 1) == settings(moved, 1)
    assert deviations(own, moved, 1) == []


def test_weights_in_another_place_are_the_same_run() -> None:
    run = "work/pretraining/retinanet-123"
    places = [f"/a/{run}/seed0/iter_9.pth", f"/b/{run}/seed1/iter_9.pth"]
    flats = [settings(Config(dict(load_from=place)), 1) for place in places]
    assert flats[0] == flats[1]
    other = settings(Config(dict(load_from="/a/work/other/seed0/iter_9.pth")), 1)
    assert flats[0] != other


def test_fewer_images_than_the_set_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = copy.deepcopy(OWN)
    set_data_root(moved, str(tmp_path))
    (tmp_path / "annotations").mkdir()
    sizes = {"instances_train2017.json": 3, "instances_val2017.json": 2}
    for name, count in sizes.items():
        images = [dict(id=i, file_name=f"{i}.jpg") for i in range(count)]
        path = tmp_path / "annotations" / name
        path.write_text(json.dumps(dict(images=images, annotations=[dict(id=1)])))
    first, _ = changes = deviations(OWN, moved, 8)
    assert first.endswith("instances_train2017.json has 3 of 118287 images")
    assert sections_of(changes) == "train_dataloader, val_dataloader"
    monkeypatch.setattr(compare, "IMAGES", sizes)
    assert deviations(OWN, moved, 8) == []


def test_a_config_that_evaluates_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="neither val_evaluator nor test_evaluator"):
        evaluated_split(Config(dict(val_dataloader=dict(), test_evaluator=None)))


def test_data_sets_and_metrics_inside_of_wrappers() -> None:
    def leaf(root: str) -> dict:
        return dict(type="CocoDataset", data_root=root, ann_file="a.json")

    repeated = dict(type="RepeatDataset", times=2, dataset=leaf("one/"))
    joined = dict(type="ConcatDataset", datasets=[leaf("two/"), repeated])
    metrics = [dict(ann_file="two/a.json"), dict(ann_file="else/a.json")]
    config = Config(
        dict(
            train_dataloader=dict(dataset=joined),
            val_dataloader=dict(dataset=leaf("two/")),
            val_evaluator=metrics,
            test_evaluator=metrics,
        )
    )
    keys = [key for key, _ in datasets(config, "train_dataloader")]
    inner = "train_dataloader.dataset.datasets"
    assert keys == [f"{inner}.0", f"{inner}.1.dataset"]
    assert list(datasets(config, "test_dataloader")) == []
    keys = [key for key, _ in evaluators(config, "test_evaluator")]
    assert keys == ["test_evaluator.0", "test_evaluator.1"]
    set_data_root(config, "new")
    roots = [dataset.data_root for _, dataset in datasets(config, "train_dataloader")]
    assert roots == ["new/", "new/"]
    for name in ("val_evaluator", "test_evaluator"):
        files = [metric.ann_file for _, metric in evaluators(config, name)]
        assert files == ["new/a.json", "else/a.json"]


def test_differences_of_nested_configs() -> None:
    old = flatten(dict(a=dict(b=(1, 2), c=1), d=[dict(e=1)], f={}))
    new = flatten(Config(dict(a=dict(b=[1, 2], c=2), d=[dict(e=1), dict(e=4)])))
    assert differences(old, new) == [
        ("a.c", "1", "2"),
        ("f", "{}", "unset"),
        ("d.1.e", "unset", "4"),
    ]
