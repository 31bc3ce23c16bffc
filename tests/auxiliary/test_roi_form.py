import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional as F

from fpn_necks.auxiliary import RoIAuxiliary
from tests.golden import Golden, golden

HEIGHT, WIDTH = 192, 288
CHANNELS = 3
NUM_CLASSES = 2
STRIDES = [4, 8, 16, 32]
LEVELS = ["m2", "m3", "m4", "m5"]
SMALL = dict(fc_out_channels=6)
SAMPLER = dict(
    type="RandomSampler",
    num=40,
    pos_fraction=0.5,
    neg_pos_ub=-1,
    add_gt_as_proposals=True,
)
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

    def __init__(self, widths: list[int] | None = None) -> None:
        super().__init__()
        self.backbone = nn.Identity()
        self.backbone.out_indices = (0, 1, 2, 3)
        neck = dict(type="FPN", out_channels=CHANNELS, num_outs=4)
        self.neck = MODELS.build(neck | dict(in_channels=widths or [4, 5, 6, 7]))


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
        truths = InstanceData(
            bboxes=torch.tensor(rows).reshape(-1, 4).double(),
            labels=torch.arange(len(rows)) % NUM_CLASSES,
        )
        near = truths.bboxes.repeat(4, 1) + 3 * torch.rand(4 * len(rows), 4).double()
        corners = torch.rand(9, 2).double() * torch.tensor([180, 90])
        far = torch.cat([corners, corners + 3 + 90 * torch.rand(9, 2)], dim=1)
        rois = InstanceData(priors=torch.cat([near, far]))
        assigned = assigner.assign(rois, truths)
        results.append(TASK_UTILS.build(SAMPLER).sample(assigned, rois, truths))
        sample = DetDataSample(metainfo=dict(batch_input_shape=(HEIGHT, WIDTH)))
        masks = np.zeros((len(rows), HEIGHT, WIDTH), dtype=np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, rows, strict=True):
            mask[int(top) : int(bottom) - 4, int(left) + 3 : int(right)] = 1
        truths.masks = BitmapMasks(masks, HEIGHT, WIDTH)
        sample.gt_instances = truths
        samples.append(sample)
    return results, samples


# Of sizes that belong to strides 4, 16, 8 and 8; stride 32 stays without any.
OBJECTS = [[24.0, 24, 120, 120], [3.0, 6, 285, 186], [110.0, 20, 280, 160]]
OTHERS = [[60.0, 60, 210, 180]]


def some_maps(width: int = CHANNELS, levels: list[str] = LEVELS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.randn(
            2,
            width,
            HEIGHT // 2 ** int(name[1]),
            WIDTH // 2 ** int(name[1]),
            generator=generator,
        )
        .double()
        .requires_grad_()
        for name in levels
    }


def losses_of(
    auxiliary: RoIAuxiliary, *boxes: Any, maps: Any = None
) -> dict[str, Tensor]:
    sampled, samples = sampled_rois(*boxes)
    maps = some_maps() if maps is None else maps
    return auxiliary.loss(nn.Module(), maps, dict(sampled=sampled), samples)


def box_losses(
    auxiliary: RoIAuxiliary,
    pooled: list[Tensor],
    rois: Tensor,
    targets: tuple[Tensor, ...],
    rows: list[Tensor | slice],
) -> dict[str, Tensor]:
    """The losses of RoIs that are pooled already, ``(K_l, C, h, w)`` per level."""
    losses: dict[str, Tensor] = {}
    weighted = (targets[1] > 0).sum().clamp(min=1)
    for i, (x, chosen) in enumerate(zip(pooled, rows, strict=True)):
        own = [target[chosen] for target in targets]
        losses |= auxiliary._level_losses(i, x, rois[chosen], own, weighted, len(rois))
    return losses


def encode(box: Tensor, truth: Tensor) -> Tensor:
    """The deltas of a box to an object, divided by their scale."""
    width, height = box[2] - box[0], box[3] - box[1]
    wider, higher = truth[2] - truth[0], truth[3] - truth[1]
    return torch.stack(
        [
            ((truth[0] + truth[2]) / 2 - (box[0] + box[2]) / 2) / width / 0.1,
            ((truth[1] + truth[3]) / 2 - (box[1] + box[3]) / 2) / height / 0.1,
            (wider / width).log() / 0.2,
            (higher / height).log() / 0.2,
        ]
    )


def level_of(box: Tensor) -> int:
    """The level of a RoI as FPN says it: 224 pixels belong to stride 16."""
    scale = float(((box[2] - box[0]) * (box[3] - box[1])).sqrt())
    return next((i for i in range(3) if scale < 112 * 2**i), 3)


def plain_losses(
    auxiliary: RoIAuxiliary, sampled: list[SamplingResult], maps: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The losses by one RoI after the other."""
    rois = []  # image, box, label, target
    for image, result in enumerate(sampled):
        for box, label, truth in zip(
            result.pos_priors, result.pos_gt_labels, result.pos_gt_bboxes, strict=True
        ):
            rois.append((image, box, int(label), encode(box, truth)))
        for box in result.neg_priors:
            rois.append((image, box, NUM_CLASSES, None))
    found: dict[str, Tensor] = {}
    for i, (name, x) in enumerate(maps.items()):
        align = RoIAlign(7, 1 / STRIDES[i], sampling_ratio=2)
        head = auxiliary.bbox_heads[i if len(auxiliary.bbox_heads) > 1 else 0]
        branch = None
        if auxiliary.uncertainty is not None:
            branch = auxiliary.uncertainty[i if len(auxiliary.bbox_heads) > 1 else 0]
        if auxiliary.pre_convs is not None:
            x = auxiliary.pre_convs[i](x)
        classification = regression = 0 * x.sum()
        alphas: dict[str, list[Tensor]] = dict(cls=[], bbox=[])
        for image, box, label, target in rois:
            if auxiliary.assignment == "assigned" and level_of(box) != i:
                continue
            roi = torch.cat([box.new_tensor([image]), box])[None]
            hidden = align(x, roi).flatten()
            for layer in head.shared_fcs:
                hidden = (layer.weight @ hidden + layer.bias).relu()
            score = head.fc_cls.weight @ hidden + head.fc_cls.bias
            boxes = (head.fc_reg.weight @ hidden + head.fc_reg.bias).reshape(-1, 4)
            entropy = score.logsumexp(0) - score[label]
            factor = 1.0
            if branch is not None:
                alpha = branch["cls"].layer(hidden).relu().squeeze()
                alphas["cls"].append(alpha)
                factor = (-alpha).exp()
            classification = classification + factor * entropy
            if target is None:
                continue
            error = (boxes[label if len(boxes) > 1 else 0] - target).abs()
            distance = torch.where(error < 1, error**2 / 2, error - 0.5).sum()
            if branch is not None:
                alpha = branch["bbox"].layer(hidden).relu().squeeze()
                alphas["bbox"].append(alpha)
                factor = (-alpha).exp()
            regression = regression + factor * distance
        weight = auxiliary.loss_weight
        found[f"aux.loss_cls.{name}"] = weight * classification / len(rois)
        found[f"aux.loss_bbox.{name}"] = weight * regression / len(rois)
        for kind in ("cls", "bbox") if branch is not None else ():
            mean = sum(alphas[kind], x.sum() * 0) / max(len(alphas[kind]), 1)
            tau = auxiliary.uncertainty_weight
            found[f"aux.loss_{kind}_alpha.{name}"] = weight * tau * mean
            found[f"aux.alpha_{kind}.{name}"] = mean
    return found


CASES: dict[str, dict[str, Any]] = {
    "augfpn": dict(),
    "heavier": dict(loss_weight=1.2),
    "assigned": dict(assignment="assigned"),
    "separate-heads": dict(shared_head=False, loss_weight=1.0),
    "separate-heads-assigned": dict(shared_head=False, assignment="assigned"),
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


# Parity with the released auxiliary head.

GOLDEN_CLASSES = 4
# The released code has the background first, mmdet 3 has it last.
TO_MMDET = [1, 2, 3, 4, 0]
TO_RELEASED = [4, 0, 1, 2, 3]


def golden_form(case: Golden) -> RoIAuxiliary:
    settings = copy.deepcopy(SETTINGS)
    settings["roi_head"]["bbox_head"]["num_classes"] = GOLDEN_CLASSES
    result = form(settings, bbox_head=dict(fc_out_channels=16)).float()
    state = dict(case.state)
    for part in ("weight", "bias"):
        state[f"fc_cls.{part}"] = state[f"fc_cls.{part}"][TO_MMDET]
        state[f"fc_reg.{part}"] = state[f"fc_reg.{part}"][4:]
    result.bbox_heads[0].load_state_dict(state)
    return result


def own_columns(per_class: Tensor, labels: Tensor) -> Tensor:
    """Take the columns of each row's class, ``(K, 4)``, from the released layout."""
    return per_class.reshape(len(labels), -1, 4)[torch.arange(len(labels)), labels]


def golden_targets(case: Golden) -> tuple[Tensor, ...]:
    """Return labels, label weights, box targets and box weights as mmdet has them."""
    labels = case.others["target/labels"].long()
    return (
        torch.where(labels > 0, labels - 1, GOLDEN_CLASSES),
        case.others["target/label_weights"],
        own_columns(case.others["target/bbox_targets"], labels),
        own_columns(case.others["target/bbox_weights"], labels),
    )


def by_level(rows: Tensor) -> list[Tensor]:
    """Rows ``k * L + l`` of the released code, level by level."""
    return [rows[i::4] for i in range(4)]


def interleaved(rows: Tensor) -> Tensor:
    """The way back: all RoIs of a level after those of the level before."""
    return rows.reshape(4, -1, *rows.shape[1:]).transpose(0, 1).flatten(0, 1)


def released_name(name: str) -> str:
    """``aux.loss_bbox.m3`` is ``loss_reg_level1`` there."""
    _, kind, level = name.split(".")
    return f"{kind.replace('bbox', 'reg')}_level{int(level[1]) - 2}"


def test_parity_of_head_and_losses() -> None:
    case = golden("augfpn_auxhead")
    auxiliary = golden_form(case)
    head, outputs = auxiliary.bbox_heads[0], []
    head.register_forward_hook(lambda *args: outputs.append(args[2]))
    targets = golden_targets(case)
    pooled = by_level(case.inputs["bbox_feats"])
    rois = torch.zeros(len(targets[0]), 5)
    losses = box_losses(auxiliary, pooled, rois, targets, [slice(None)] * 4)
    assert len(outputs) == 4, "RoIs of all levels are not concatenated"
    score, boxes = (interleaved(torch.cat(x)) for x in zip(*outputs, strict=True))
    case.check_outputs({"cls_score": score[:, TO_RELEASED]})
    expected = case.outputs["bbox_pred"][:, 4:]
    torch.testing.assert_close(boxes, expected, atol=2e-5, rtol=1e-5)
    released = {name for name in case.outputs if name.startswith("loss")}
    assert {released_name(name) for name in losses} == released and len(released) == 8
    for name, loss in losses.items():
        case.check_outputs({released_name(name): loss[None]})

    # The gradient of all outputs; the background's boxes are not ours, and what they
    # give to the shared layers is added by the released formula.
    cotangents = case.cotangents
    total = (score[:, TO_RELEASED] * cotangents["cls_score"]).sum()
    total = total + (boxes * cotangents["bbox_pred"][:, 4:]).sum()
    hidden = case.inputs["bbox_feats"].flatten(1)
    for layer in head.shared_fcs:
        hidden = layer(hidden).relu()
    background = F.linear(
        hidden, case.state["fc_reg.weight"][:4], case.state["fc_reg.bias"][:4]
    )
    total = total + (background * cotangents["bbox_pred"][:, :4]).sum()
    for name, loss in losses.items():
        total = total + (loss * cotangents[released_name(name)]).sum()
    total.backward()
    gradients = {
        "in/bbox_feats": case.inputs["bbox_feats"].grad,
        "fc_cls.weight": head.fc_cls.weight.grad[TO_RELEASED],
        "fc_reg.bias": torch.cat(
            [cotangents["bbox_pred"][:, :4].sum(0), head.fc_reg.bias.grad]
        ),
        "shared_fcs.0.bias": head.shared_fcs[0].bias.grad,
    }
    case.check_gradients(gradients)


def test_parity_of_the_loss_gradients() -> None:
    case = golden("augfpn_auxhead")
    score = case.outputs["cls_score"][:, TO_MMDET].requires_grad_()
    boxes = case.outputs["bbox_pred"][:, 4:].clone().requires_grad_()
    auxiliary, targets = golden_form(case), golden_targets(case)
    predicted = iter(zip(by_level(score), by_level(boxes), strict=True))
    auxiliary.bbox_heads[0].forward = lambda _: next(predicted)
    pooled = by_level(case.inputs["bbox_feats"])
    rois = torch.zeros(len(targets[0]), 5)
    losses = box_losses(auxiliary, pooled, rois, targets, [slice(None)] * 4)
    total = sum(losses.values())
    torch.testing.assert_close(total, case.others["lossgrad/total"])
    total.backward()
    found = score.grad[:, TO_RELEASED]
    torch.testing.assert_close(found, case.others["lossgrad/cls_score"])
    expected = case.others["lossgrad/bbox_pred"]
    assert not expected[:, :4].any(), "the background has no box"
    torch.testing.assert_close(boxes.grad, expected[:, 4:])


# Nothing to learn from.


def backward(auxiliary: RoIAuxiliary, losses: dict[str, Tensor]) -> None:
    """Every loss is finite, and every parameter gets a gradient tensor."""
    assert all(loss.isfinite() for loss in losses.values())
    sum(loss for key, loss in losses.items() if "loss" in key).backward()
    for name, parameter in auxiliary.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_rois_without_weight() -> None:
    """As where all boxes are ignored: no division by zero."""
    auxiliary = form(uncertainty_weight=0.5)
    labels = torch.full((5,), NUM_CLASSES)
    nothing = torch.zeros(5, 4).double()
    targets = (labels, torch.zeros(5).double(), nothing, nothing)
    pooled = [torch.rand(5, CHANNELS, 7, 7).double() for _ in LEVELS]
    losses = box_losses(
        auxiliary, pooled, torch.zeros(5, 5), targets, [slice(None)] * 4
    )
    backward(auxiliary, losses)
    assert all(loss == 0 for loss in losses.values())


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
    positives = sum(len(result.pos_priors) for result in sampled)
    assert positives > 8
    for i, (name, x) in enumerate(maps.items()):
        total = torch.zeros(())
        align = RoIAlign(14, 1 / STRIDES[i], sampling_ratio=0)
        for image, (result, sample) in enumerate(zip(sampled, samples, strict=True)):
            for box, label, truth in zip(
                result.pos_priors,
                result.pos_gt_labels,
                result.pos_assigned_gt_inds,
                strict=True,
            ):
                if assignment == "assigned" and level_of(box) != i:
                    continue
                roi = torch.cat([box.new_tensor([image]), box])[None]
                logits = auxiliary.mask_heads[0](align(x, roi))[0]
                logits = logits[0 if agnostic else label]
                masks = sample.gt_instances.masks
                inside = box.numpy().clip(0, [WIDTH, HEIGHT] * 2)
                target = masks.crop_and_resize(
                    inside[None], (28, 28), np.array([int(truth)])
                )
                target = torch.from_numpy(target.masks[0]).double()
                entropy = F.softplus(logits) - logits * target
                total = total + entropy.mean()
        expected = (0.5 * total / positives).double()
        torch.testing.assert_close(found[f"aux.loss_mask.{name}"].double(), expected)
    assert found["aux.loss_mask.m2"] > 0


# What is built.


def test_settings_of_augfpn() -> None:
    detector = StubDetector()
    auxiliary = RoIAuxiliary(detector, copy.deepcopy(SETTINGS))
    assert [level.name for level in auxiliary.levels] == LEVELS
    assert auxiliary.loss_weight == 0.25 and auxiliary.assignment == "all"
    assert auxiliary.pre_convs is None and auxiliary.mask_heads is None
    assert auxiliary.uncertainty is None
    (head,) = auxiliary.bbox_heads
    assert [fc.out_features for fc in head.shared_fcs] == [1024, 1024]
    assert head.shared_fcs[0].in_features == CHANNELS * 49
    assert head.loss_bbox.beta == 1.0 and head.loss_bbox.loss_weight == 1.0
    assert not head.loss_cls.use_sigmoid and head.loss_cls.loss_weight == 1.0
    assert head.fc_cls.out_features == NUM_CLASSES + 1
    assert [layer.spatial_scale for layer in auxiliary.roi_extractor.roi_layers] == [
        1 / stride for stride in STRIDES
    ]
    # Nothing of the detector is kept: its parameters would have two names.
    assert all("neck" not in key for key in auxiliary.state_dict())


def test_what_is_taken_from_the_detectors_head() -> None:
    coder = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.05, 0.05, 0.1, 0.1])
    main = dict(
        type="ConvFCBBoxHead",
        num_classes=7,
        reg_class_agnostic=True,
        bbox_coder=coder,
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True),
    )
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
    auxiliary = RoIAuxiliary(
        StubDetector(),
        copy.deepcopy(SETTINGS),
        feature_channels=64,
        uncertainty_weight=0.5,
    )
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
@pytest.mark.parametrize("beside", [False, True], ids=["result", "with-weights"])
def test_recorded_samples(stages: int, beside: bool) -> None:
    """Of the first stage's sampler; PISA's returns weights beside its result."""
    sampled, samples = sampled_rois(OBJECTS, [])
    results = iter([(result, 1.0) if beside else result for result in sampled])
    sampler = SimpleNamespace(sample=lambda: next(results))
    detector = nn.Module()
    other = SimpleNamespace(sample=None)
    detector.roi_head = SimpleNamespace(
        bbox_sampler=sampler if stages == 1 else [sampler, other]
    )
    auxiliary = form()
    with auxiliary.recording(detector) as recorded:
        sampler.sample(), sampler.sample()
    found = auxiliary.loss(detector, some_maps(), recorded, samples)
    expected = auxiliary.loss(detector, some_maps(), dict(sampled=sampled), samples)
    assert found == expected and len(found) > 2


@pytest.mark.parametrize("changes", [{}, dict(uncertainty_weight=0.5)], ids=str)
@pytest.mark.parametrize("shared_head", [True, False])
def test_checkpointed_losses_have_the_same_gradients(
    changes: dict, shared_head: bool
) -> None:
    sampled, samples = sampled_rois(OBJECTS, [])
    results = []
    for with_cp in (True, False):
        auxiliary = form(with_cp=with_cp, shared_head=shared_head, **changes)
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
    with pytest.raises(
        ValueError, match=r"m3 is a map of \(12, 18\).*\(24, 36\) cells of 8"
    ):
        losses_of(form(), OBJECTS, OTHERS, maps=maps)
