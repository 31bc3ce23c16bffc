"""mmdet's RoI heads with SoftRoIExtractor in the place of SingleRoIExtractor."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs, demo_mm_proposals
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from torch import Tensor

import fpn_necks  # noqa: F401  registers the extractor

STRIDES = [4, 8, 16, 32]
CHANNELS = 6
ROI_LAYER = dict(type="RoIAlign", output_size=7, sampling_ratio=0)


def feature_maps() -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, CHANNELS, 96 // s, 128 // s, generator=random).requires_grad_()
        for s in STRIDES
    ]


def roi_head(kind: str, fusion: str):
    """A small head with soft RoI selection for boxes (7x7) and masks (14x14)."""
    register_all_modules(init_default_scope=True)
    extractor = dict(
        type="SoftRoIExtractor",
        roi_layer=ROI_LAYER,
        out_channels=CHANNELS,
        featmap_strides=STRIDES,
        fusion=fusion,
    )
    coder = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])
    box_head = dict(
        type="Shared2FCBBoxHead", in_channels=CHANNELS, fc_out_channels=8,
        roi_feat_size=7, num_classes=3, bbox_coder=coder,
    )  # fmt: skip
    train = dict(
        assigner=dict(
            type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5
        ),
        sampler=dict(
            type="RandomSampler", num=8, pos_fraction=0.5, add_gt_as_proposals=True
        ),
        mask_size=28,
        pos_weight=-1,
        debug=False,
    )
    cascade = kind == "CascadeRoIHead"
    head = dict(
        type=kind,
        bbox_roi_extractor=extractor,
        bbox_head=[box_head] * 2 if cascade else box_head,
        mask_roi_extractor={**extractor, "roi_layer": {**ROI_LAYER, "output_size": 14}},
        mask_head=dict(
            type="FCNMaskHead", num_convs=1, in_channels=CHANNELS,
            conv_out_channels=4, num_classes=3,
        ),
        train_cfg=[train] * 2 if cascade else train,
        test_cfg=dict(
            score_thr=0.0, nms=dict(type="nms", iou_threshold=0.5), max_per_img=4,
            mask_thr_binary=0.5,
        ),
    )  # fmt: skip
    if cascade:
        head |= dict(num_stages=2, stage_loss_weights=[1, 0.5])
    torch.manual_seed(0)
    built = MODELS.build(ConfigDict(head))
    built.init_weights()
    return built


@pytest.mark.parametrize("num_items", [[2, 1], [0, 0]], ids=["objects", "no-objects"])
@pytest.mark.parametrize(
    ("kind", "fusion"),
    [("StandardRoIHead", "asf"), ("StandardRoIHead", "acf"), ("CascadeRoIHead", "asf")],
)
def test_drops_into_mmdets_heads(kind: str, fusion: str, num_items: list[int]) -> None:
    """Losses, gradients of every weight, and predictions with masks."""
    head = roi_head(kind, fusion)
    inputs = demo_mm_inputs(
        batch_size=2, image_shapes=[(3, 96, 128)] * 2, num_items=num_items,
        num_classes=3, with_mask=True,
    )  # fmt: skip
    samples = inputs["data_samples"]
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(1.0, 1.0)))
    proposals = demo_mm_proposals([(3, 96, 128)] * 2, 6)
    feats = feature_maps()
    losses = head.loss(feats, copy.deepcopy(proposals), samples)
    values = [v for k, v in losses.items() if "loss" in k]
    sum(v.sum() for v in values).backward()
    assert all(v.isfinite().all() for v in values)
    # On images without objects masks are pooled from no RoI at all.
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
    head.eval()
    with torch.no_grad():
        results = head.predict(feature_maps(), proposals, samples, rescale=True)
    assert len(results) == 2
    assert all(len(r) == 4 and r.masks.shape == (4, 96, 128) for r in results)
