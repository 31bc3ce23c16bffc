"""Configs of rows: where they are, data sets in wrappers, what two differ in."""

from pathlib import Path

import pytest
from mmengine.config import Config

from fpn_necks.reproduction.configs import (
    datasets,
    differences,
    find_config,
    flatten,
    load_config,
    merge_options,
    set_data_root,
)


def test_configs_of_both_libraries() -> None:
    ours = find_config("asff/retinanet_r50_asff_1x_coco")
    theirs = find_config("mmdet::retinanet/retinanet_r50_fpn_1x_coco")
    assert ours.is_file() and theirs.is_file()
    with pytest.raises(LookupError, match="mmdet has no config 'retinanet/no.py'"):
        find_config("mmdet::retinanet/no")
    with pytest.raises(LookupError, match="no shipped config"):
        find_config("asff/no")


def test_configs_can_be_changed_without_changing_the_next() -> None:
    name = "mmdet::retinanet/retinanet_r50_fpn_1x_coco"
    first = load_config(name, {"train_cfg.max_epochs": 1})
    second = load_config(name, {})
    assert (first.train_cfg.max_epochs, second.train_cfg.max_epochs) == (1, 12)
    assert first.custom_imports.imports == ["fpn_necks"]


def test_data_sets_inside_of_wrappers() -> None:
    def leaf(root: str) -> dict:
        return dict(type="CocoDataset", data_root=root, ann_file="a.json")

    repeated = dict(type="RepeatDataset", times=2, dataset=leaf("one/"))
    joined = dict(type="ConcatDataset", datasets=[leaf("two/"), repeated])
    config = Config(
        dict(
            train_dataloader=dict(dataset=joined),
            val_dataloader=dict(dataset=leaf("two/")),
            val_evaluator=[dict(ann_file="two/a.json"), dict(ann_file="else/a.json")],
        )
    )
    keys = [key for key, _ in datasets(config, "train_dataloader")]
    inner = "train_dataloader.dataset.datasets"
    assert keys == [f"{inner}.0", f"{inner}.1.dataset"]
    assert list(datasets(config, "test_dataloader")) == []
    set_data_root(config, "new")
    found = [dataset.data_root for _, dataset in datasets(config, "train_dataloader")]
    assert found == ["new/", "new/"]
    assert [e.ann_file for e in config.val_evaluator] == ["new/a.json", "else/a.json"]


def test_a_list_in_the_place_of_a_tuple() -> None:
    """mmdet's Resize takes no list, and YAML has no tuple."""
    options = {
        "train_dataloader.dataset.pipeline.2.scale": [333, 200],
        "model.neck.in_channels": [1, 2, 3, 4],
        "model.backbone.norm_eval": False,
    }
    config = load_config("mmdet::retinanet/retinanet_r50_fpn_1x_coco", options)
    assert config.train_dataloader.dataset.pipeline[2].scale == (333, 200)
    assert config.model.neck.in_channels == [1, 2, 3, 4]


def test_options_into_lists() -> None:
    config = Config(dict(a=[dict(b=1), dict(b=2)]))
    merge_options(config, {"a.1.b": 3})
    assert config.a[1].b == 3
    with pytest.raises(ValueError, match="option a.5.b=3 does not fit"):
        merge_options(config, {"a.5.b": 3})


def test_differences_of_nested_configs() -> None:
    old = flatten(dict(a=dict(b=(1, 2), c=1, _scope_="mmdet"), d=[dict(e=1)], f={}))
    new = flatten(Config(dict(a=dict(b=[1, 2], c=2), d=[dict(e=1), dict(e=4)])))
    assert differences(old, new) == [
        ("a.c", "1", "2"),
        ("f", "{}", "unset"),
        ("d.1.e", "unset", "4"),
    ]


def test_a_written_config_reads_back_the_same(tmp_path: Path) -> None:
    config = load_config("augfpn/faster-rcnn_r50_augfpn_1x_coco", {})
    path = tmp_path / "config.py"
    path.write_text(config.pretty_text)
    assert differences(flatten(config), flatten(Config.fromfile(path))) == []
