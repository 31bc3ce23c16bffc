"""Every shipped config: names, settings, a training step and a test step."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch.utils.data import Dataset

from fpn_necks.auxiliary import Uncertainty
from fpn_necks.config_tools import type_name, walk
from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.shipped_configs import config_path, configs_folder, list_configs
from tests.tiny_detectors import (
    detector_config,
    load_config,
    set_statistic_factors,
    shrink,
    train_and_test_a_step,
)
from tests.tiny_sets import write_coco_set

register_all_modules()
CONFIGS = list_configs()
# {detector}_{backbone}_{neck}[_{losses}][_{head}]_{batch and schedule}_{data}.py
NAME = re.compile(
    r"(retinanet|faster-rcnn|mask-rcnn|cascade-rcnn|cascade-mask-rcnn|sparse-rcnn|fcos"
    r"|atss|freeanchor|fsaf|yolov3|yolox|rtmdet|libra-faster-rcnn|grid-rcnn)"
    r"_((r18|r50|r50-caffe|r101|x101-64x4d|swin-t-p4-w7|d53|s)_[a-z0-9-]+|r101-caffe-dc5)"
    r"(_auxiliary(-uncertainty)?)?(_gn-head)?"
    r"_((\d+xb\d+-)?((ms|autoaug|sm|msm)-)?((320|416|608)-)?\d+[xek]|demo)"
    r"_(coco|coco100|cityscapes|tinyperson|tinycitypersons|synthetic-tiny-person)"
)
BASELINE = re.compile(r"_fpn(-p3-p7)?_")


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_coco_set(folder, num_images=4, size=(192, 128), ignored_last=True)
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_name(name: str) -> None:
    assert NAME.fullmatch(Path(name).stem)


def test_metafiles_list_every_config() -> None:
    for folder in {Path(name).parent for name in CONFIGS}:
        text = (configs_folder() / folder / "metafile.yml").read_text()
        listed = set(re.findall(r"Config: configs/(\S+)", text))
        assert listed == {name for name in CONFIGS if Path(name).parent == folder}
        assert "Weights" not in text and "Results" not in text, "nothing was trained"


@pytest.mark.parametrize("name", CONFIGS)
def test_is_a_difference_that_imports_the_package(name: str) -> None:
    path = config_path(name)
    whole_recipe = "_demo_" in name or "yolov3" in name
    longest = 130 if whole_recipe else 80
    assert len(path.read_text().splitlines()) <= longest
    config = Config.fromfile(path)
    assert config.custom_imports == dict(
        imports=["fpn_necks"], allow_failed_imports=False
    )
    if "_auxiliary" in name:
        assert config.model.type.startswith("Auxiliary") and config.model.auxiliary
        return
    neck = config.model.neck
    first = neck[0] if isinstance(neck, list) else neck
    if BASELINE.search(name):
        assert first.type == "FPN" or first.fusion_factor == 1
    else:
        stages = neck if isinstance(neck, list) else [neck]
        assert any(stage.type != "FPN" for stage in stages)


@pytest.mark.parametrize("name", CONFIGS)
def test_learning_rate_scales_from_the_images_per_step(name: str) -> None:
    config = load_config(name)
    batch = re.search(r"_(\d+)xb(\d+)-", name)
    gpus, images = map(int, batch.groups()) if batch else (8, 2)
    if "_cityscapes" in name:
        images = 1
    elif "_demo_" in name:
        gpus, images = 1, 4
    assert config.train_dataloader.batch_size == images
    assert config.auto_scale_lr.base_batch_size == gpus * images


@pytest.mark.parametrize("name", [name for name in CONFIGS if "-uncertainty" in name])
def test_uncertainty_has_no_weight_decay(name: str) -> None:
    config = shrink(load_config(name))
    model = MODELS.build(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    branches = [m for m in model.modules() if isinstance(m, Uncertainty)]
    assert len(branches) == 2 * len(model.auxiliary.levels)
    own = {id(parameter) for branch in branches for parameter in branch.parameters()}
    assert {decays[key] for key in own} == {0.0}
    assert decays[id(model.backbone.layer3[0].conv1.weight)] == 1e-4


def types_of(name: str) -> tuple[frozenset[str], ...]:
    """Return the types in a config's model, and in its training data."""
    config = load_config(name)
    parts = (config.model, config.train_dataloader)
    return tuple(frozenset(type_name(x) for _, x in walk(part)) for part in parts)


TYPES = {name: types_of(name) for name in CONFIGS}
# Configs of the same types differ in numbers, which tests/check compares.
MODELS_APART = {types[0]: name for name, types in TYPES.items()}.values()
RUNS_APART = {types: name for name, types in TYPES.items()}.values()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in MODELS_APART else pytest.mark.long)
        for name in RUNS_APART
    ],
)
def test_training_step_and_test_step(name: str, tiny_set: Path) -> None:
    train_and_test_a_step(detector_config(name, tiny_set))


class Sizes(Dataset):
    """What batch samplers ask a data set for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index

    def get_data_info(self, index: int) -> dict[str, int]:
        return dict(width=64, height=80 if index % 3 else 48)


@pytest.mark.parametrize("name", [name for name in CONFIGS if "drfpn" in name])
def test_a_neck_that_needs_two_images_gets_no_batch_of_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CRB normalises pooled maps, whose only values are those of the images."""
    config = load_config(name)
    loader = config.train_dataloader
    model = MODELS.build(shrink(config).model).train()
    set_statistic_factors(model)
    with pytest.raises(ValueError):
        model.extract_feat(torch.rand(1, 3, 64, 96))
    world_size = 3
    settings = dict(loader, num_workers=0, persistent_workers=False)
    # As many as leave every process one image of its third batch.
    settings["dataset"] = Sizes(world_size * (2 * loader.batch_size + 1))
    batches = []
    for rank in range(world_size):
        monkeypatch.setattr(
            "mmengine.dataset.sampler.get_dist_info", lambda rank=rank: (rank, 3)
        )
        built = Runner.build_dataloader(settings, seed=0)
        batches.append(list(built.batch_sampler))
        assert len(batches[-1]) == len(built)
    assert {len(batch) for own in batches for batch in own} == {loader.batch_size}


def test_runner_trains_an_epoch(tmp_path: Path) -> None:
    """α is counted behind a list of necks too."""
    write_coco_set(tmp_path / "set", num_images=4, size=(192, 128), empty_last=True)
    config = detector_config("retinanet_r50_s-alpha-fpn-asff_1x_coco", tmp_path / "set")
    config.work_dir = str(tmp_path / "run")
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == -(-3 // config.train_dataloader.batch_size)
    factors = [
        m for m in runner.model.modules() if isinstance(m, StatisticFusionFactor)
    ]
    assert all(factor.is_set for factor in factors)


def test_mmdets_guide_is_followed() -> None:
    config = load_config("cascade-mask-rcnn_r50_augfpn_autoaug-10e_cityscapes")
    pipeline = config.train_dataloader.dataset.dataset.pipeline
    assert [step.type for step in pipeline][2] == "AutoAugment"
    heads = [*config.model.roi_head.bbox_head, config.model.roi_head.mask_head]
    assert [head.num_classes for head in heads] == [8] * 4
    assert config.train_cfg.max_epochs == 10 and config.param_scheduler[1].end == 10


def test_fcos_files_are_that_of_mmdet_with_other_backbone_weights() -> None:
    base = configs_folder() / "_base_"
    file = base / "detectors/fcos_r50_fpn_gn-head_1x_coco.py"
    expected = Config.fromfile(file).model.to_dict()
    assert Config.fromfile(base / "models/fcos_r50_fpn.py").model.to_dict() == {
        key: value for key, value in expected.items() if key != "_scope_"
    }
    s_alpha = load_config("s_alpha_fpn/fcos_r50_s-alpha-fpn_gn-head_1x_coco.py").model
    s_alpha.neck.pop("fusion_factor")
    s_alpha.neck.type = "FPN"
    assert s_alpha.to_dict() == expected
