import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmcv.ops import RoIAlign
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional as F

from fpn_necks.auxiliary import RoIAuxiliary, proposals
from tests.data_samples import data_sample
from tests.golden import golden
from tests.neck_cases import backbone_maps

HEIGHT, WIDTH = 192, 288
CHANNELS = 3
NUM_CLASSES = 2
STRIDES = [4, 8, 16, 32]
LEVELS = ["m2", "m3", "m4", "m5"]
SMALL = dict(fc_out_channels=6)
SAMPLER = dict(proposals.SAMPLER, num=40, pos_fraction=0.5)
CODER = DeltaXYWHBBoxCoder(target_stds=[0.1, 0.1, 0.2, 0.2])
POOLING = dict(type="RoIAlign", output_size=7, sampling_ratio=0)
SETTINGS = ConfigDict(
    roi_head=dict(
        type="StandardRoIHead",
        bbox_roi_extractor=dict(type="SingleRoIExtractor", roi_layer=POOLING),
        bbox_head=dict(type="Shared2FCBBoxHead", num_classes=NUM_CLASSES),
    ),
    train_cfg=dict(rcnn=dict(sampler=SAMPLER, pos_weight=-1, mask_size=28)),
)
MASK_HEAD = dict(
    type="FCNMaskHead", num_convs=1, conv_out_channels=4, num_classes=NUM_CLASSES
)


class StubDetector(nn.Module):
    """What the form looks at: the backbone's indices and the neck's laterals."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Identity()
        self.backbone.out_indices = (0, 1, 2, 3)
        neck = dict(type="FPN", out_channels=CHANNELS, num_outs=4)
        self.neck = MODELS.build(neck | dict(in_channels=[4, 5, 6, 7]))


def form(settings: Any = None, **arguments: Any) -> RoIAuxiliary:
    """Build a small form, in float64, with weights that are not near 0."""
    torch.manual_seed(0)
    arguments = dict(bbox_head=SMALL) | arguments
    settings = copy.deepcopy(SETTINGS if settings is None else settings)
    result = RoIAuxiliary(StubDetector(), settings, **arguments)
    result.init_weights()
    for name, parameter in result.named_parameters():
        if "uncertainty" not in name:
            nn.init.normal_(parameter, std=0.3)
    return result.double()


def sampled_rois(*boxes: Any) -> tuple[list[SamplingResult], list[DetDataSample]]:
    """Sample RoIs of two images with these objects, some near them, some not."""
    torch.manual_seed(1)
    assigner = TASK_UTILS.build(
        dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5)
    )
    results, samples = [], []
    for rows in boxes:
        samples.append(data_sample(rows, size=(HEIGHT, WIDTH), masks=True))
        truths = samples[-1].gt_instances
        truths.bboxes = truths.bboxes.double()
        near = truths.bboxes.repeat(4, 1) + 3 * torch.rand(4 * len(rows), 4).double()
        corners = torch.rand(9, 2).double() * torch.tensor([180, 90])
        far = torch.cat([corners, corners + 3 + 90 * torch.rand(9, 2)], dim=1)
        rois = InstanceData(priors=torch.cat([near, far]))
        assigned = assigner.assign(rois, truths)
        results.append(TASK_UTILS.build(SAMPLER).sample(assigned, rois, truths))
    return results, samples


# Of sizes that belong to strides 4, 16, 8 and 8; stride 32 stays without any.
OBJECTS = [[24.0, 24, 120, 120], [3.0, 6, 285, 186], [110.0, 20, 280, 160]]
OTHERS = [[60.0, 60, 210, 180]]


def some_maps() -> dict[str, Tensor]:
    maps = backbone_maps((HEIGHT // 4, WIDTH // 4), channels=[CHANNELS] * 4)
    maps = [x.double().requires_grad_() for x in maps]
    return dict(zip(LEVELS, maps, strict=True))


def box_losses(
    auxiliary: RoIAuxiliary, pooled: list[Tensor], targets: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """The losses of RoIs that are pooled from every level already, ``(K, C, h, w)``."""
    auxiliary.roi_extractor.pool_level = lambda _level, x, _rois: x
    losses: dict[str, Tensor] = {}
    weighted = (targets[1] > 0).sum().clamp(min=1)
    rois = torch.zeros(len(targets[0]), 5)
    for i, x in enumerate(pooled):
        losses |= auxiliary._level_losses(i, x, rois, targets, weighted, len(rois))
    return losses


def levels_of(rois: Tensor) -> Tensor:
    """The levels of RoIs as FPN says it: 224 pixels belong to stride 16."""
    scale = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
    return sum((scale >= limit).long() for limit in (112, 224, 448))


def plain_losses(
    auxiliary: RoIAuxiliary, sampled: list[SamplingResult], maps: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The losses without the form's heads, samplers and loss modules."""
    rois = bbox2roi([result.priors for result in sampled])
    labels, targets = [], []
    for result in sampled:
        encoded = CODER.encode(result.pos_priors, result.pos_gt_bboxes)
        count = len(result.neg_priors)
        labels += [result.pos_gt_labels, torch.full((count,), NUM_CLASSES)]
        targets += [encoded, encoded.new_zeros(count, 4)]
    found: dict[str, Tensor] = {}
    for i, (name, x) in enumerate(maps.items()):
        own = torch.ones(len(rois), dtype=torch.bool)
        if auxiliary.assignment == "assigned":
            own = levels_of(rois) == i
        label, target = torch.cat(labels)[own], torch.cat(targets)[own]
        place = i if len(auxiliary.bbox_heads) > 1 else 0
        head = auxiliary.bbox_heads[place]
        if auxiliary.pre_convs is not None:
            x = auxiliary.pre_convs[i](x)
        hidden = RoIAlign(7, 1 / STRIDES[i], sampling_ratio=2)(x, rois[own]).flatten(1)
        for layer in head.shared_fcs:
            hidden = (hidden @ layer.weight.T + layer.bias).relu()
        losses = F.cross_entropy(head.fc_cls(hidden), label, reduction="none")
        boxes = head.fc_reg(hidden).unflatten(1, (-1, 4))
        positive = label < NUM_CLASSES
        column = label if boxes.shape[1] > 1 else 0 * label
        error = (boxes[positive, column[positive]] - target[positive]).abs()
        distances = torch.where(error < 1, error**2 / 2, error - 0.5).sum(1)
        for kind, values, rows in (
            ("cls", losses, slice(None)),
            ("bbox", distances, positive),
        ):
            weight = auxiliary.loss_weight
            if auxiliary.uncertainty is not None:
                layer = auxiliary.uncertainty[place][kind].layer
                alpha = layer(hidden[rows]).relu()[:, 0]
                values = (-alpha).exp() * values
                mean = alpha.sum() / max(len(alpha), 1)
                tau = auxiliary.uncertainty_weight
                found[f"aux.loss_{kind}_alpha.{name}"] = weight * tau * mean
                found[f"aux.alpha_{kind}.{name}"] = mean
            found[f"aux.loss_{kind}.{name}"] = weight * values.sum() / len(rois)
    return found


CASES: dict[str, dict[str, Any]] = {
    "augfpn": dict(),
    "assigned": dict(assignment="assigned"),
    "separate-heads": dict(shared_head=False, loss_weight=1.0),
    "class-agnostic": dict(bbox_head=SMALL | dict(reg_class_agnostic=True)),
    "uncertain": dict(uncertainty_weight=0.5),
    "uncertain-assigned": dict(uncertainty_weight=0.3, assignment="assigned"),
    "yslao": dict(
        shared_head=False, feature_channels=4, uncertainty_weight=0.5, loss_weight=1.0
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_are_those_of_a_plain_computation(name: str) -> None:
    auxiliary, maps = form(**CASES[name]), some_maps()
    sampled, samples = sampled_rois(OBJECTS, OTHERS)
    found = auxiliary.loss(nn.Module(), maps, dict(sampled=sampled), samples)
    expected = plain_losses(auxiliary, sampled, maps)
    assert set(found) == set(expected)
    for key, loss in found.items():
        torch.testing.assert_close(loss.double(), expected[key], atol=1e-6, rtol=1e-5)
        assert loss.requires_grad == ("loss" in key)
    assert all(found[f"aux.loss_bbox.{key}"] > 0 for key in LEVELS[:3]), "not by 0"
    # And so are the gradients of the maps.
    keys = [key for key in found if "loss" in key]
    gradients = [
        torch.autograd.grad(sum(losses[k] for k in keys), list(maps.values()))
        for losses in (found, expected)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_levels_of_rois() -> None:
    """0 to 112 pixels: stride 4, to 224: 8, to 448: 16, beyond: 32."""
    sides = [1.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 2000.0]
    rois = torch.tensor([[0.0, 5, 5, 5 + side, 5 + side] for side in sides])
    rows = form(assignment="assigned").rows_of_levels(rois)
    assert torch.stack(rows).long().argmax(0).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (torch.stack(rows).sum(0) == 1).all()
    # Without the finest level its RoIs go to the next.
    rows = form(assignment="assigned", levels=LEVELS[1:3]).rows_of_levels(rois)
    assert torch.stack(rows).long().argmax(0).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    # A RoI without any area (mmdet clips boxes to the image) has a level as well.
    flat = torch.tensor([[0.0, 96, 5, 96, 50]])
    rows = form(assignment="assigned").rows_of_levels(flat)
    assert [bool(row) for row in rows] == [True, False, False, False]
    assert form().rows_of_levels(rois) == [slice(None)] * 4


def released_name(name: str) -> str:
    """``aux.loss_bbox.m3`` is ``loss_reg_level1`` in the released code."""
    _, kind, level = name.split(".")
    return f"{kind.replace('bbox', 'reg')}_level{int(level[1]) - 2}"


def interleaved(levels: list[Tensor]) -> Tensor:
    """Rows ``k * L + l`` of the released code."""
    return torch.stack(levels, dim=1).flatten(0, 1)


def test_parity_with_the_released_auxiliary_head() -> None:
    """Whose background is the first class, and has a box of its own."""
    case = golden("augfpn_auxhead")
    settings = copy.deepcopy(SETTINGS)
    settings["roi_head"]["bbox_head"]["num_classes"] = 4
    auxiliary = form(settings, bbox_head=dict(fc_out_channels=16)).float()
    (head,), state = auxiliary.bbox_heads, dict(case.state)
    background = {}
    for part in ("weight", "bias"):
        state[f"fc_cls.{part}"] = state[f"fc_cls.{part}"].roll(-1, dims=0)
        rows = state[f"fc_reg.{part}"]
        background[part], state[f"fc_reg.{part}"] = rows[:4].clone(), rows[4:]
        background[part].requires_grad_()
    head.load_state_dict(state)
    outputs, behind = [], []
    head.register_forward_hook(lambda *args: outputs.append(args[2]))
    head.fc_reg.register_forward_hook(
        lambda _m, x, _y: behind.append(F.linear(x[0], **background))
    )

    labels = case.others["target/labels"].long()
    rows = torch.arange(len(labels))
    targets = (
        torch.where(labels > 0, labels - 1, 4),
        case.others["target/label_weights"],
        *(
            case.others[f"target/bbox_{kind}"].unflatten(1, (-1, 4))[rows, labels]
            for kind in ("targets", "weights")
        ),
    )
    pooled = [case.inputs["bbox_feats"][i::4] for i in range(4)]
    losses = box_losses(auxiliary, pooled, targets)
    assert len(outputs) == 4, "RoIs of all levels are not concatenated"
    scores, boxes = zip(*outputs, strict=True)
    total = sum(losses.values())
    torch.testing.assert_close(total, case.others["lossgrad/total"])
    found = torch.autograd.grad(total, [*scores, *boxes], retain_graph=True)
    torch.testing.assert_close(
        interleaved(found[:4]).roll(1, dims=1), case.others["lossgrad/cls_score"]
    )
    expected = case.others["lossgrad/bbox_pred"]
    assert not expected[:, :4].any(), "the background's box has no loss"
    torch.testing.assert_close(interleaved(found[4:]), expected[:, 4:])

    results = {
        "cls_score": interleaved(scores).roll(1, dims=1),
        "bbox_pred": torch.cat([interleaved(behind), interleaved(boxes)], dim=1),
        **{released_name(name): loss[None] for name, loss in losses.items()},
    }
    case.check_outputs(results)
    case.backward(results)
    gradients = {
        "in/bbox_feats": case.inputs["bbox_feats"].grad,
        "fc_cls.weight": head.fc_cls.weight.grad.roll(1, dims=0),
        "fc_reg.bias": torch.cat([background["bias"].grad, head.fc_reg.bias.grad]),
        "shared_fcs.0.bias": head.shared_fcs[0].bias.grad,
    }
    case.check_gradients(gradients)


def test_rois_without_weight() -> None:
    """As where all boxes are ignored: no division by zero, and all gradients."""
    auxiliary = form(uncertainty_weight=0.5)
    nothing = torch.zeros(5, 4).double()
    targets = (torch.full((5,), NUM_CLASSES), nothing[:, 0], nothing, nothing)
    pooled = [torch.rand(5, CHANNELS, 7, 7).double() for _ in LEVELS]
    losses = box_losses(auxiliary, pooled, targets)
    assert all(loss == 0 for loss in losses.values())
    sum(loss for key, loss in losses.items() if "loss" in key).backward()
    for name, parameter in auxiliary.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


# Masks.


@pytest.mark.parametrize("assignment", ["all", "assigned"])
@pytest.mark.parametrize("agnostic", [False, True])
def test_mask_losses(assignment: str, agnostic: bool) -> None:
    settings = copy.deepcopy(SETTINGS)
    settings["roi_head"]["mask_head"] = MASK_HEAD | dict(class_agnostic=agnostic)
    pooling = dict(POOLING, output_size=14)
    settings["roi_head"]["mask_roi_extractor"] = dict(roi_layer=pooling)
    auxiliary = form(settings, assignment=assignment, mask_loss=True, loss_weight=0.5)
    maps = some_maps()
    sampled, samples = sampled_rois(OBJECTS, OTHERS)
    found = auxiliary.loss(nn.Module(), maps, dict(sampled=sampled), samples)
    rois = bbox2roi([result.pos_priors for result in sampled])
    labels = torch.cat([result.pos_gt_labels for result in sampled])
    targets = []
    for result, sample in zip(sampled, samples, strict=True):
        boxes = result.pos_priors.numpy().clip(0, [WIDTH, HEIGHT] * 2)
        truths = result.pos_assigned_gt_inds.numpy()
        masks = sample.gt_instances.masks.crop_and_resize(boxes, (28, 28), truths)
        targets.append(torch.from_numpy(masks.masks).double())
    assert len(rois) > 8
    for i, (name, x) in enumerate(maps.items()):
        own = torch.ones(len(rois), dtype=torch.bool)
        if assignment == "assigned":
            own = levels_of(rois) == i
        pooled = RoIAlign(14, 1 / STRIDES[i], sampling_ratio=0)(x, rois[own])
        logits = auxiliary.mask_heads[0](pooled)
        column = 0 * labels[own] if agnostic else labels[own]
        logits = logits[torch.arange(len(logits)), column]
        entropy = F.softplus(logits) - logits * torch.cat(targets)[own]
        expected = 0.5 * entropy.mean((1, 2)).sum() / len(rois)
        torch.testing.assert_close(found[f"aux.loss_mask.{name}"].double(), expected)
    assert found["aux.loss_mask.m2"] > 0


# What is built.


def test_settings_of_augfpn() -> None:
    auxiliary = RoIAuxiliary(StubDetector(), copy.deepcopy(SETTINGS))
    assert [level.name for level in auxiliary.levels] == LEVELS
    assert auxiliary.loss_weight == 0.25 and auxiliary.assignment == "all"
    for part in (auxiliary.pre_convs, auxiliary.mask_heads, auxiliary.uncertainty):
        assert part is None
    (head,) = auxiliary.bbox_heads
    assert [fc.out_features for fc in head.shared_fcs] == [1024, 1024]
    assert head.shared_fcs[0].in_features == CHANNELS * 49
    assert head.loss_bbox.beta == 1.0 and head.loss_bbox.loss_weight == 1.0
    assert not head.loss_cls.use_sigmoid and head.loss_cls.loss_weight == 1.0
    assert head.bbox_coder.stds == [0.1, 0.1, 0.2, 0.2]
    assert head.fc_cls.out_features == NUM_CLASSES + 1
    # Nothing of the detector is kept: its parameters would have two names.
    assert all("neck" not in key for key in auxiliary.state_dict())


def test_what_is_taken_from_the_detectors_head() -> None:
    coder = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.05, 0.05, 0.1, 0.1])
    main = dict(type="ConvFCBBoxHead", num_classes=7, reg_class_agnostic=True)
    loss = dict(type="CrossEntropyLoss", use_sigmoid=True)
    main |= dict(bbox_coder=coder, loss_cls=loss)
    settings = copy.deepcopy(SETTINGS)
    settings["roi_head"]["bbox_head"] = [main, dict(main, num_classes=9)]
    rcnn = settings["train_cfg"]["rcnn"]
    settings["train_cfg"]["rcnn"] = [rcnn, dict(rcnn, pos_weight=3)]
    auxiliary = RoIAuxiliary(StubDetector(), settings, bbox_head=SMALL)
    (head,) = auxiliary.bbox_heads
    assert head.num_classes == 7 and head.reg_class_agnostic
    assert head.bbox_coder.stds == [0.05, 0.05, 0.1, 0.1]
    assert auxiliary.train_cfg["pos_weight"] == -1, "the first stage's"
    assert not head.loss_cls.use_sigmoid, "the losses are AugFPN's"
    assert main["type"] == "ConvFCBBoxHead" and "in_channels" not in main


def test_initial_weights() -> None:
    torch.manual_seed(0)
    settings, changes = copy.deepcopy(SETTINGS), dict(uncertainty_weight=0.5)
    auxiliary = RoIAuxiliary(StubDetector(), settings, feature_channels=64, **changes)
    auxiliary.init_weights()
    (head,), (branch,) = auxiliary.bbox_heads, auxiliary.uncertainty
    assert head.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.fc_reg.weight.std().item() == pytest.approx(0.001, rel=0.1)
    for part in branch.values():
        assert part.layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert (part.layer.bias == 0.1).all()
    for conv in auxiliary.pre_convs:
        bound = (6 / (CHANNELS + 64)) ** 0.5
        assert 0.8 * bound < conv.weight.abs().max().item() <= bound
        assert (conv.bias == 0).all()
    names = [name for name, _ in auxiliary.named_parameters() if "uncertainty" in name]
    assert len(names) == 4, "configs switch weight decay off by this name"


@pytest.mark.parametrize("stages", [1, 2])
def test_recorded_samples(stages: int) -> None:
    """Of the first stage's sampler; PISA's returns weights beside its result."""
    sampled, samples = sampled_rois(OBJECTS, [])
    results = iter([sampled[0], (sampled[1], 1.0)])
    samplers = [SimpleNamespace(sample=lambda: next(results)), None]
    detector = nn.Module()
    detector.roi_head = SimpleNamespace(
        bbox_sampler=samplers[0] if stages == 1 else samplers
    )
    auxiliary = form()
    with auxiliary.recording(detector) as recorded:
        samplers[0].sample(), samplers[0].sample()
    found = auxiliary.loss(detector, some_maps(), recorded, samples)
    expected = auxiliary.loss(detector, some_maps(), dict(sampled=sampled), samples)
    assert found == expected and len(found) > 2


@pytest.mark.parametrize("name", ["augfpn", "yslao"])
def test_checkpointed_losses_have_the_same_gradients(name: str) -> None:
    sampled, samples = sampled_rois(OBJECTS, [])
    results = []
    for with_cp in (True, False):
        auxiliary = form(with_cp=with_cp, **CASES[name])
        maps = some_maps()
        losses = auxiliary.loss(nn.Module(), maps, dict(sampled=sampled), samples)
        sum(v for k, v in losses.items() if "loss" in k).backward()
        tensors = (*auxiliary.parameters(), *maps.values())
        results.append((losses, [x.grad for x in tensors]))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(a, b)


def test_a_level_of_another_stride() -> None:
    maps = some_maps()
    maps["m3"] = maps["m4"]
    sampled, samples = sampled_rois(OBJECTS, OTHERS)
    message = r"m3 is a map of \(12, 18\).*\(24, 36\) cells of 8"
    with pytest.raises(ValueError, match=message):
        form().loss(nn.Module(), maps, dict(sampled=sampled), samples)
