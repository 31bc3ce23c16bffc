from typing import Any

import pytest
import torch
from mmdet.models import dense_heads
from mmdet.models.dense_heads import FCOSHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from fpn_necks.auxiliary import RecordingSampler
from fpn_necks.auxiliary.recording import (
    computes_targets,
    record_inputs,
    record_outputs,
    recording_targets_of,
    replaying_targets_of,
    scores_before_boxes,
)

RANDOM = dict(
    type="RandomSampler",
    num=8,
    pos_fraction=0.5,
    neg_pos_ub=-1,
    add_gt_as_proposals=True,
)
TRUTHS = InstanceData(
    bboxes=torch.tensor([[0.0, 0, 20, 20], [30, 30, 60, 50]]),
    labels=torch.tensor([1, 0]),
)


def assigned_boxes() -> tuple[Any, InstanceData]:
    """Return 40 boxes and which of them belong to the objects."""
    generator = torch.Generator().manual_seed(0)
    near = TRUTHS.bboxes.repeat(8, 1) + torch.rand(16, 4, generator=generator)
    corners = 40 * torch.rand(24, 2, generator=generator)
    far = torch.cat([corners, corners + 5], dim=1)
    boxes = InstanceData(priors=torch.cat([near, far]))
    assigner = dict(
        type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5
    )
    return TASK_UTILS.build(assigner).assign(boxes, TRUTHS), boxes


def sample(sampler: Any, **arguments: Any) -> SamplingResult:
    torch.manual_seed(3)
    return sampler.sample(*assigned_boxes(), TRUTHS, **arguments)


def check_same(a: SamplingResult, b: SamplingResult) -> None:
    for name in ("priors", "pos_inds", "neg_inds", "pos_gt_bboxes", "pos_gt_labels"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_samples_what_the_other_sampler_samples() -> None:
    plain = TASK_UTILS.build(RANDOM)
    wrapped = TASK_UTILS.build(dict(type="RecordingSampler", sampler=dict(RANDOM)))
    assert isinstance(wrapped, RecordingSampler)
    check_same(sample(plain), sample(wrapped))
    with wrapped.recording() as kept:
        first, second = sample(wrapped), sample(wrapped)
        assert kept[0] is first and kept[1] is second and len(kept) == 2
    check_same(sample(plain), first)
    torch.manual_seed(4)
    plain.sample(*assigned_boxes(), TRUTHS)
    assert len(kept) == 2


def test_nothing_is_recorded_outside_of_the_block() -> None:
    sampler = RecordingSampler(dict(RANDOM))
    sample(sampler)
    with sampler.recording() as first:
        sample(sampler)
    sample(sampler)
    with sampler.recording() as second:
        pass
    assert len(first) == 1 and second == []
    with pytest.raises(RuntimeError, match="inside"), sampler.recording() as third:
        raise RuntimeError("inside")
    sample(sampler)
    assert third == []


def test_attributes_are_those_of_the_other_sampler() -> None:
    combined = dict(
        RANDOM,
        type="CombinedSampler",
        pos_sampler=dict(type="InstanceBalancedPosSampler"),
        neg_sampler=dict(type="RandomSampler"),
    )
    sampler = RecordingSampler(combined)
    assert sampler.num == 8 and sampler.add_gt_as_proposals is True
    # mmdet has a wrapper of its own, asked the same way.
    assert sampler.pos_sampler.num == 8
    check_same(sample(TASK_UTILS.build(combined)), sample(sampler))
    with pytest.raises(AttributeError, match="threshold"):
        _ = sampler.threshold
    nested = RecordingSampler(dict(type="RecordingSampler", sampler=combined))
    assert nested.pos_sampler.num == 8 and nested.sampler.sampler.num == 8


def test_copies_and_pickles() -> None:
    import copy
    import pickle

    sampler = RecordingSampler(dict(RANDOM))
    for other in (copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        check_same(sample(sampler), sample(other))


class ContextHead(nn.Module):
    """What OHEM asks of the RoI head: features of RoIs, and their losses."""

    def __init__(self) -> None:
        super().__init__()
        self.with_shared_head = False
        self.bbox_head = self
        self.num_classes = 2
        self.bbox_roi_extractor = lambda feats, rois: rois
        self.bbox_roi_extractor.num_inputs = 1

    def forward(self, rois: Tensor) -> tuple[Tensor, None]:
        return rois, None

    def _bbox_forward(self, _feats: Any, rois: Tensor) -> dict[str, Any]:
        return dict(cls_score=rois, bbox_pred=None)

    def loss(self, cls_score: Tensor, *_: Any, **__: Any) -> dict[str, Tensor]:
        return dict(loss_cls=cls_score[:, 1:].sum(1))  # far right: hard


def test_online_hard_examples_get_their_context() -> None:
    config = dict(RANDOM, type="OHEMSampler", num=4)
    plain = TASK_UTILS.build(config, default_args=dict(context=ContextHead()))
    wrapped = dict(type="RecordingSampler", sampler=config)
    wrapped = TASK_UTILS.build(wrapped, default_args=dict(context=ContextHead()))
    feats = [torch.zeros(1, 1, 4, 4)]
    expected = sample(plain, feats=feats)
    with wrapped.recording() as kept:
        check_same(expected, sample(wrapped, feats=feats))
    check_same(expected, kept[0])
    sums = kept[0].neg_priors.sum(1)
    assigned, boxes = assigned_boxes()
    negatives = boxes.priors[assigned.gt_inds == 0].sum(1)
    assert sums.min() >= negatives.sort().values[-2]


def test_a_sampler_that_returns_weights_as_well() -> None:
    """PISA's; its RoI head takes the tuple apart itself."""

    @TASK_UTILS.register_module(name="_WeightedTestSampler")
    class Weighted:
        def sample(self, *args: Any) -> tuple[SamplingResult, Tensor]:
            return TASK_UTILS.build(RANDOM).sample(*args), torch.ones(3)

    try:
        sampler = RecordingSampler(dict(type="_WeightedTestSampler"))
    finally:
        TASK_UTILS.module_dict.pop("_WeightedTestSampler")
    with sampler.recording() as kept:
        result = sample(sampler)
    assert isinstance(result, tuple) and kept == [result[0]]


def test_outputs_and_inputs_of_a_module() -> None:
    layer, x = nn.Linear(2, 3), torch.rand(4, 2)
    with record_outputs(layer) as outputs, record_inputs(layer) as inputs:
        y = layer(x)
        layer(2 * x)
    layer(x)
    assert len(outputs) == len(inputs) == 2
    assert outputs[0] is y and inputs[0] is x
    for record in (record_outputs, record_inputs):
        with pytest.raises(RuntimeError, match="inside"), record(layer):
            raise RuntimeError("inside")
    assert not layer._forward_hooks and not layer._forward_pre_hooks


# Read in mmdet's source, head by head: does loss_by_feat ask get_targets, and does it
# compute the classification loss before the box loss?
HEADS = {
    "RetinaHead": (True, True),
    "RetinaSepBNHead": (True, True),
    "FCOSHead": (True, True),
    "NASFCOSHead": (True, True),
    "ATSSHead": (True, True),
    "PAAHead": (True, True),
    "FoveaHead": (True, True),
    "GFLHead": (True, False),
    "LDHead": (True, False),
    "VFNetHead": (True, False),
    "AutoAssignHead": (True, False),
    "CenterNetHead": (True, False),
    "RepPointsHead": (True, False),
    "FreeAnchorRetinaHead": (False, None),
    "LADHead": (False, None),
    "YOLOXHead": (False, None),
    "DDODHead": (False, None),
    "AnchorFreeHead": (False, None),
}


@pytest.mark.parametrize("name", HEADS)
def test_what_heads_compute(name: str) -> None:
    head = getattr(dense_heads, name, None)
    if head is None:
        head = dense_heads.anchor_free_head.AnchorFreeHead
    targets, order = HEADS[name]
    assert computes_targets(head) is targets
    if order is not None:
        assert scores_before_boxes(head) is order


def test_what_a_subclass_computes() -> None:
    class Other(FCOSHead):
        def loss_by_feat(self, *args: Any) -> dict[str, Tensor]:
            return dict(loss_bbox=self.loss_bbox(*args), loss_cls=self.loss_cls(*args))

    class Same(FCOSHead):
        pass

    assert not computes_targets(Other) and not scores_before_boxes(Other)
    assert computes_targets(Same) and scores_before_boxes(Same)
    assert not computes_targets(nn.Module)
    # The recorder and the replayer stand before a head: they change neither answer.
    for wrapper in (recording_targets_of, replaying_targets_of):
        assert computes_targets(wrapper(FCOSHead))


class TargetHead(nn.Module):
    """Counts how often it computes targets of three levels for two images."""

    count = 0

    def get_targets(self, offset: float = 0.0) -> tuple[Any, ...]:
        self.count += 1
        labels = [offset + torch.arange(2.0 * (i + 1)).reshape(2, -1) for i in range(3)]
        weights = [torch.ones(2, i + 1) for i in range(3)]
        return labels, weights, 7, ["image 0", "image 1"]


def test_targets_are_recorded_inside_the_block_alone() -> None:
    kind = recording_targets_of(TargetHead)
    assert kind is recording_targets_of(TargetHead) and kind.__name__ == "TargetHead"
    head = kind()
    with head.recording_targets() as kept:
        targets = head.get_targets(offset=2.0)
        # FSAF's loss changes its targets.
        targets[0][1] = targets[0][1].flatten()
        targets[1][0][:] = 9
    head.get_targets()
    assert head.count == 2 and len(kept) == 1
    assert kept[0][0][1].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert kept[0][1][0].tolist() == [[1.0], [1.0]]
    assert kept[0][2:] == (7, ["image 0", "image 1"])
    with pytest.raises(RuntimeError, match="inside"), head.recording_targets() as lost:
        raise RuntimeError("inside")
    head.get_targets()
    assert lost == []


def test_replaying_takes_levels() -> None:
    head = replaying_targets_of(TargetHead)()
    targets = TargetHead().get_targets()
    with pytest.raises(RuntimeError, match=r"inside replaying_targets\(\) only"):
        head.get_targets()
    with head.replaying_targets(targets, [1, 2], number=3):
        labels, weights, number, images = head.get_targets("anything", some="thing")
        assert head.count == 0, "it computes none itself"
        assert number == 7 and images == ["image 0", "image 1"]
        assert [x.shape for x in labels] == [(2, 2), (2, 3)]
        assert torch.equal(labels[0], targets[0][1])
        assert torch.equal(weights[1], targets[1][2])
        # What one head does to them is not seen by the next.
        labels[0][:] = 9
        assert torch.equal(head.get_targets()[0][0], targets[0][1])
        assert not (targets[0][1] == 9).any()
    with pytest.raises(RuntimeError, match="only"):
        head.get_targets()
    with head.replaying_targets(targets, [0, 1, 2], number=3):
        found = head.get_targets()
    for a, b in zip(found[0] + found[1], targets[0] + targets[1], strict=True):
        assert torch.equal(a, b)


def test_targets_that_are_not_one_per_level() -> None:
    """FoveaBox has one tensor for all levels, PAA a list of images."""
    head = replaying_targets_of(TargetHead)()
    for targets in ((torch.arange(5),), ([torch.arange(5)] * 2, 3)):
        with head.replaying_targets(targets, range(3), number=3):
            assert torch.equal(
                torch.cat([torch.as_tensor(x).flatten() for x in head.get_targets()[0]])
                if isinstance(targets[0], list)
                else head.get_targets()[0],
                torch.cat(targets[0]) if isinstance(targets[0], list) else targets[0],
            )
        replaying = head.replaying_targets(targets, [1], number=3)
        with pytest.raises(ValueError, match="strides must be None for TargetHead"):
            with replaying:
                pass
