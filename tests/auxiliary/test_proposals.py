from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fpn_necks.auxiliary.proposals import (
    ASSIGNER,
    PROPOSALS,
    SAMPLER,
    DecodedProposals,
    check_head,
)
from tests.auxiliary import test_dense_form as dense
from tests.auxiliary.test_dense_form import HEIGHT, NUM_CLASSES, STRIDES, WIDTH
from tests.data_samples import data_sample

HEADS: dict[str, dict[str, Any]] = {
    **{name: head for name, head in dense.HEADS.items() if "decoded" not in name},
    "sabl": dict(
        type="SABLRetinaHead",
        approx_anchor_generator=dense.ANCHORS,
        square_anchor_generator=dict(
            type="AnchorGenerator", ratios=[1.0], scales=[4], strides=STRIDES
        ),
        norm_cfg=None,
        bbox_coder=dict(type="BucketingBBoxCoder", num_buckets=6, scale_factor=3.0),
        loss_cls=dense.FOCAL,
    ),
}
every_head = pytest.mark.parametrize("name", HEADS)


def build_head(name: str) -> nn.Module:
    torch.manual_seed(0)
    sizes = dict(num_classes=NUM_CLASSES, in_channels=32, feat_channels=32)
    head = MODELS.build(HEADS[name] | sizes | dict(stacked_convs=1))
    # As initialised, no score would be above the threshold, and boxes all alike.
    for key, parameter in head.named_parameters():
        if parameter.dim() == 4:
            nn.init.normal_(parameter, std=0.06)
        elif key.endswith("bias"):
            nn.init.constant_(parameter, 1.5 if "conv_reg" in key else 0.1)
    return head.train()


def feature_maps() -> list[Tensor]:
    return dense.maps_of([32] * 3)


def samples(*boxes: list[list[float]], ignored: Any = ((), ())) -> list[DetDataSample]:
    return [
        data_sample(rows, ignored=crowds, size=(HEIGHT, WIDTH))
        for rows, crowds in zip(boxes, ignored, strict=True)
    ]


OBJECTS = dense.OBJECTS[:2]


def propose(name: str, batch: list[DetDataSample], **arguments: Any) -> list:
    head = build_head(name)
    outputs = head(tuple(feature_maps()))
    torch.manual_seed(2)
    return DecodedProposals(**arguments)(head, outputs, batch)


def all_boxes(head: nn.Module, outputs: Any, **settings: Any) -> list[Tensor]:
    """Return what the sampler was given, without sampling."""
    proposals = DecodedProposals(proposals=settings)
    proposals.sampler = SimpleNamespace(sample=lambda _assigned, rois, _truth: rois)
    return [x.priors for x in proposals(head, outputs, samples(OBJECTS, []))]


@every_head
def test_boxes_are_those_of_testing(name: str) -> None:
    """In evaluation mode, on the same maps, predict() finds the same boxes."""
    head, maps = build_head(name), feature_maps()
    outputs = head(tuple(maps))
    before = [x.clone() for x in tree_leaves(outputs)]
    found = all_boxes(head, outputs)
    # The main loss still gets its own predictions.
    assert all(map(torch.equal, tree_leaves(outputs), before))
    head.eval()
    head.test_cfg = ConfigDict(PROPOSALS)
    with torch.no_grad():
        expected = head.predict(tuple(maps), samples(OBJECTS, []), rescale=False)
    assert len(found) == len(expected) == 2
    for boxes, results in zip(found, expected, strict=True):
        assert len(boxes) > 10
        torch.testing.assert_close(boxes, results.bboxes)
        sides = boxes[:, 2:] - boxes[:, :2]
        assert sides.max() > 12, "not in units of a stride"


@every_head
def test_sampled_rois(name: str) -> None:
    """Ground truths are among the positives, and nothing has a gradient."""
    check_head(build_head(name))
    full, empty = propose(name, samples(OBJECTS, []))
    for box, label in zip(OBJECTS, (0, 1), strict=True):
        same = (full.pos_priors == torch.tensor(box)).all(dim=1)
        assert same.sum() == 1 and full.pos_gt_labels[same] == label
    assert len(empty.pos_priors) == 0 and len(empty.neg_priors) > 0
    assert empty.pos_gt_bboxes.shape == (0, 4)
    for result in (full, empty):
        assert len(result.priors) <= 512 and len(result.pos_priors) <= 128
        for tensor in (result.priors, result.pos_priors, result.pos_gt_bboxes):
            assert not tensor.requires_grad and tensor.grad_fn is None


def test_settings_of_augfpn() -> None:
    """And mmdet's heads are given them, not the detector's test_cfg."""
    assert PROPOSALS["nms_pre"] == 2000 and PROPOSALS["max_per_img"] == 1000
    assert PROPOSALS["score_thr"] == 0.01
    assert PROPOSALS["nms"] == dict(type="nms", iou_threshold=0.7)
    proposals = DecodedProposals()
    assert proposals.assigner.pos_iou_thr == proposals.assigner.neg_iou_thr == 0.5
    assert proposals.assigner.match_low_quality is True
    assert proposals.sampler.num == 512 and proposals.sampler.pos_fraction == 0.25
    assert proposals.sampler.add_gt_as_proposals is True
    head = build_head("fcos")
    head.test_cfg = ConfigDict(PROPOSALS, max_per_img=1)
    outputs = head(tuple(feature_maps()))
    given = []
    head.predict_by_feat = lambda *a, **k: (
        given.append(k) or [InstanceData(bboxes=torch.rand(3, 4)) for _ in range(2)]
    )
    proposals(head, outputs, samples([], []))
    assert given[0]["cfg"].to_dict() == dict(PROPOSALS, min_bbox_size=0)
    assert given[0]["rescale"] is False and given[0]["with_nms"] is True


def test_thresholds() -> None:
    head = build_head("retinanet")
    outputs = head(tuple(feature_maps()))
    boxes = all_boxes(head, outputs)[0]
    assert boxes.min() >= 0
    assert (boxes[:, 2] <= WIDTH).all() and (boxes[:, 3] <= HEIGHT).all()
    assert len(all_boxes(head, outputs, max_per_img=7)[0]) == 7
    strict = dict(nms=dict(type="nms", iou_threshold=0.3))
    assert len(all_boxes(head, outputs, **strict)[0]) < len(boxes)
    assert len(all_boxes(head, outputs, nms_pre=5)[0]) <= 15
    assert len(all_boxes(head, outputs, score_thr=1.0)[0]) == 0
    # NMS is within classes: boxes of different ones may lie on each other.
    overlaps = bbox_overlaps(boxes, boxes).fill_diagonal_(0)
    assert overlaps.max() > 0.7


def test_no_detections() -> None:
    """The truths are still there; where there are none, there is no RoI at all."""
    strict = dict(score_thr=0.999)
    full, empty = propose("fcos", samples(OBJECTS, []), proposals=strict)
    assert torch.equal(full.pos_priors.sort(0).values, torch.tensor(OBJECTS).sort(0)[0])
    assert len(full.neg_priors) == 0
    assert empty.priors.shape == (0, 4) and len(empty.pos_gt_labels) == 0


def test_ignored_boxes() -> None:
    """With a threshold for them, RoIs inside are neither positive nor negative."""
    everything = [[0, 0, WIDTH, HEIGHT]]
    assigner = dict(ASSIGNER, ignore_iof_thr=0.5)
    batch = samples(OBJECTS, OBJECTS[:1], ignored=[[], everything])
    full, ignored = propose("retinanet", batch, assigner=assigner)
    assert len(full.neg_priors) > 0
    assert ignored.priors.tolist() == OBJECTS[:1]
    # The released code has no such threshold.
    for result in propose("retinanet", batch):
        assert len(result.neg_priors) > 0


def test_sampler_of_ones_own() -> None:
    sampler = dict(SAMPLER, num=6, add_gt_as_proposals=False)
    full, empty = propose("atss", samples(OBJECTS, []), sampler=sampler)
    assert len(full.priors) == len(empty.priors) == 6
    kept = DecodedProposals(proposals=dict(max_per_img=3))
    assert kept.config.max_per_img == 3 and kept.config.nms_pre == 2000
    assert PROPOSALS["max_per_img"] == 1000
