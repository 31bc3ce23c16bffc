"""Every shipped config: names, settings, a training step and a test step."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from fpn_necks.layers import StatisticFusionFactor
from fpn_necks.shipped_configs import config_path, configs_folder, list_configs
from tests.tiny_detectors import detector_config
from tests.tiny_sets import write_coco_set

register_all_modules()
CONFIGS = list_configs()
# {detector}_{backbone}_{neck}[_{head}][_{schedule}]_{data}.py
NAME = re.compile(
    r"(retinanet|faster-rcnn|mask-rcnn|cascade-rcnn|fcos|atss|yolov3)"
    r"_[a-z0-9]+(-caffe)?(_[a-z0-9-]+)?(_gn-head)?"
    r"_((\d+xb\d+-)?\d+x|demo)_(coco|coco100|tinyperson|synthetic-tiny-person)"
)


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_coco_set(folder, num_images=4, size=(192, 128), empty_last=True)
    return folder


def set_statistic_factors(model: torch.nn.Module) -> None:
    """Do what FusionFactorHook does before training."""
    for module in model.modules():
        if isinstance(module, StatisticFusionFactor):
            module.set([0.5] * module.num_connections)


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
    longest = 130 if "_demo_" in name else 70  # the demo is a whole recipe of its own
    assert len(path.read_text().splitlines()) <= longest
    config = Config.fromfile(path)
    assert config.custom_imports == dict(
        imports=["fpn_necks"], allow_failed_imports=False
    )
    neck = config.model.neck
    stages = neck if isinstance(neck, list) else [neck]
    assert any(stage.type != "FPN" for stage in stages)


@pytest.mark.parametrize("name", CONFIGS)
def test_strides_of_neck_and_head_agree(name: str) -> None:
    model = MODELS.build(Config.fromfile(config_path(name)).model)
    set_statistic_factors(model)
    model.eval()
    image = torch.zeros(1, 3, 128, 256)
    with torch.no_grad():
        maps = model.extract_feat(image)
    found = [(256 // m.shape[3], 128 // m.shape[2]) for m in maps]
    two_stage = hasattr(model, "rpn_head")
    head = model.rpn_head if two_stage else model.bbox_head
    strides = [
        s if isinstance(s, tuple) else (s, s) for s in head.prior_generator.strides
    ]
    assert found == strides
    if two_stage:
        extractor = model.roi_head.bbox_roi_extractor
        of_rois = [(s, s) for s in extractor.featmap_strides]
        assert of_rois == strides[: len(of_rois)]


@pytest.mark.parametrize("name", CONFIGS)
def test_training_step_and_test_step(name: str, tiny_set: Path) -> None:
    """Two images, one of them without objects; every parameter gets a gradient."""
    config = detector_config(name, tiny_set)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    set_statistic_factors(model)
    config.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=False)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[3]])
    assert len(batch["data_samples"][1].gt_instances) == 0
    model.train()
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    total, values = model.parse_losses(losses)
    assert total.isfinite()
    assert all(torch.isfinite(torch.as_tensor(value)) for value in values.values())
    total.backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"No gradient for {key}"
            assert parameter.grad.isfinite().all(), f"Gradient of {key} is not finite"
    model.eval()
    tests = DATASETS.build(config.test_dataloader.dataset)
    with torch.no_grad():
        results = model.test_step(pseudo_collate([tests[0]]))
    assert results[0].pred_instances.bboxes.shape[1] == 4


def test_fcos_model_file_is_that_of_mmdet_with_other_backbone_weights() -> None:
    ours = Config.fromfile(configs_folder() / "_base_/models/fcos_r50_fpn.py").model
    name = "s_alpha_fpn/fcos_r50_s-alpha-fpn_gn-head_1x_coco.py"
    theirs = Config.fromfile(config_path(name)).model
    for part in ("backbone", "bbox_head", "test_cfg", "data_preprocessor"):
        assert ours[part].to_dict() == theirs[part].to_dict(), part
    theirs.neck.pop("fusion_factor")
    assert ours.neck.to_dict() == {**theirs.neck.to_dict(), "type": "FPN"}


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("retinanet_r50_s-alpha-fpn_1xb2-1x_tinyperson", [0.368, 0.387, 0.367]),
        ("faster-rcnn_r50_s-alpha-fpn_1xb2-1x_tinyperson", [0.48, 0.66, 1.06]),
    ],
)
def test_published_factors(name: str, factors: list[float]) -> None:
    neck = MODELS.build(Config.fromfile(config_path(name)).model.neck)
    assert neck.fusion_factor.alpha.tolist() == pytest.approx(factors)
