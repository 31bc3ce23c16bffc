"""A training step with the widths that users train; only the backbone is small.

One config of each detector per method: all 66 would take tens of minutes. The other
tests of configs are narrow throughout, or compute nothing.
"""

from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.utils import register_all_modules
from mmengine.dataset import pseudo_collate

from tests.tiny_detectors import (
    load_config,
    make_tiny,
    set_statistic_factors,
    shrink_backbone,
    use_few_rois,
)
from tests.tiny_sets import write_coco_set

register_all_modules()
CONFIGS = [
    "retinanet_r50_asff_1x_coco",
    "faster-rcnn_r50_asff_1x_coco",
    "fcos_r50_asff_gn-head_1x_coco",
    "retinanet_r50_augfpn_1x_coco",
    "faster-rcnn_r50_augfpn_1x_coco",
    "fcos_r50_augfpn_gn-head_4xb4-1x_coco",
    "retinanet_r101_cfg-fpn_auxiliary-uncertainty_1x_coco",
    "faster-rcnn_r101_cfg-fpn_auxiliary-uncertainty_1x_coco",
    "faster-rcnn_r101-caffe-dc5_auxiliary_1x_coco",
    "fcos_r50_cfg-fpn_auxiliary-uncertainty_gn-head_1x_coco",
    "retinanet_r50_cfg-fpn_1x_coco",
    "faster-rcnn_r50_cfg-fpn_1x_coco",
    "fcos_r50_cfg-fpn_gn-head_1x_coco",
    "retinanet_r50_drfpn_3xb8-1x_coco",
    "faster-rcnn_r50_drfpn_3xb8-1x_coco",
    "fcos_r50_drfpn_gn-head_3xb8-1x_coco",
    "retinanet_r50_s-alpha-fpn_1x_coco",
    "faster-rcnn_r50_s-alpha-fpn_1x_coco",
    "fcos_r50_s-alpha-fpn_gn-head_1x_coco",
]


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_coco_set(folder, num_images=2, size=(192, 128), empty_last=True)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("name", CONFIGS)
def test_training_step(name: str, tiny_set: Path) -> None:
    config = load_config(name)
    widths = _neck_widths(config.model)
    config = make_tiny(config, tiny_set, shrink_backbone)
    assert _neck_widths(config.model) == widths
    use_few_rois(config, proposals=50, sampled=16)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    set_statistic_factors(model)
    config.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=False)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[0], dataset[1]])
    assert [len(sample.gt_instances) for sample in batch["data_samples"]] == [4, 0]
    model.train()
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    total, values = model.parse_losses(losses)
    assert all(torch.as_tensor(value).isfinite().all() for value in values.values())
    total.backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"no gradient for {key}"
            assert parameter.grad.isfinite().all(), f"gradient of {key} is not finite"


def _neck_widths(model: dict) -> list:
    """Return what a neck gives out; C5's width where there is no neck is small."""
    neck = model.get("neck") or []
    stages = neck if isinstance(neck, list) else [neck]
    return [stage.get("out_channels") for stage in stages]
