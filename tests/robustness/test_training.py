"""Two hundred iterations of each method on the drawn set, as its config says."""

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.utils import register_all_modules
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS

from fpn_necks.datasets import generate
from tests.tiny_detectors import load_config, set_statistic_factors, shrink

ITERATIONS = 200
# One per method; of the auxiliary losses both forms, with uncertainty.
CONFIGS = [
    "retinanet_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson",
    "faster-rcnn_r50_augfpn_1x_coco",
    "retinanet_r50_asff_1x_coco",
    "fcos_r50_cfg-fpn_gn-head_1x_coco",
    "faster-rcnn_r50_drfpn_3xb8-1x_coco",
    "faster-rcnn_r101_cfg-fpn_auxiliary-uncertainty_1x_coco",
    "fcos_r50_fpn_auxiliary-uncertainty_gn-head_1x_coco",
]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list:
    register_all_modules()
    drawn = generate(
        tmp_path_factory.mktemp("drawn") / "set",
        num_train=8,
        num_val=1,
        image_size=(96, 64),
        size_range=(6, 20),
        people_per_image=(2, 6),
        seed=1,
        progress=False,
    )
    dataset = DATASETS.build(
        dict(
            type="TinyPersonDataset",
            ann_file=str(drawn.train.annotation_file),
            data_prefix=dict(img=str(drawn.train.image_dir)),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True),
                dict(type="PackDetInputs"),
            ],
        )
    )
    return [dataset[i] for i in range(len(dataset))]


@pytest.mark.long
@pytest.mark.parametrize("name", CONFIGS)
def test_training_stays_finite(name: str, samples: list) -> None:
    """Learning rate, weight decay, clipping and warm-up are the config's."""
    config = shrink(load_config(name), num_classes=1)
    if "rpn_proposal" in config.model.get("train_cfg", {}):
        # What a small image needs; the time is that of the RoIs.
        config.model.train_cfg.rpn_proposal.max_per_img = 100
        config.model.train_cfg.rcnn.sampler.num = 32
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    set_statistic_factors(model)
    model.train()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    warm_up = dict(config.param_scheduler[0])
    assert warm_up["type"] in ("LinearLR", "ConstantLR") and not warm_up["by_epoch"]
    scheduler = PARAM_SCHEDULERS.build(dict(warm_up, optimizer=wrapper))
    totals = []
    for step in range(ITERATIONS):
        chosen = [samples[(2 * step + i) % len(samples)] for i in range(2)]
        values = model.train_step(pseudo_collate(chosen), wrapper)
        scheduler.step()
        assert all(value.isfinite().all() for value in values.values()), (step, values)
        totals.append(values["loss"].item())
    for key, value in model.state_dict().items():
        assert value.isfinite().all(), key
    # It learns something: not a run that stays finite because nothing happens.
    assert sum(totals[-20:]) < sum(totals[:20])
