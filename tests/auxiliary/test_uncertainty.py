import math
from typing import Any

import pytest
import torch
from mmdet.models.dense_heads import FCOSHead
from mmdet.models.losses import CrossEntropyLoss, FocalLoss, IoULoss, SmoothL1Loss
from mmdet.structures.bbox import distance2bbox
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from fpn_necks.auxiliary import Uncertainty
from fpn_necks.auxiliary.uncertainty import UncertainLoss, UncertaintyRows

NUM_CLASSES = 3
SIZES = [(4, 6), (2, 3)]  # of two levels, for images of 32 x 48 pixels
META = dict(img_shape=(32, 48), pad_shape=(32, 48))
TRUTHS = [
    InstanceData(
        bboxes=torch.tensor([[1.0, 2, 17, 19], [20, 4, 47, 30]]),
        labels=torch.tensor([2, 0]),
    ),
    InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()),
]


def branch(channels: int = 5, dense: bool = False) -> Uncertainty:
    torch.manual_seed(0)
    result = Uncertainty(channels, dense)
    result.init_weights()
    return result


# The branch.


@pytest.mark.parametrize("dense", [False, True])
def test_initialisation(dense: bool) -> None:
    layer = branch(4000, dense).layer
    assert (layer.bias == 0.1).all()
    assert 0.009 < layer.weight.std() < 0.011
    assert layer.weight.mean().abs() < 0.001


def test_alpha_of_rows_and_maps() -> None:
    rows = branch()
    x = torch.randn(7, 5)
    alpha = rows(x)
    expected = (x @ rows.layer.weight[0] + rows.layer.bias).clamp(min=0)
    torch.testing.assert_close(alpha, expected)

    dense = branch(dense=True)
    x = torch.randn(2, 5, 3, 4)
    expected = x.movedim(1, -1) @ dense.layer.weight[0, :, 0, 0] + dense.layer.bias
    torch.testing.assert_close(dense(x), expected.clamp(min=0).flatten())
    assert rows(torch.zeros(0, 5)).shape == (0,)


# Eq. 10: e^{-α} L per element, and the mean of α.


def weigh(head: Any, rows: UncertaintyRows) -> None:
    head.loss_cls = UncertainLoss(head.loss_cls, rows, "cls")
    head.loss_bbox = UncertainLoss(head.loss_bbox, rows, "bbox")


def test_rows_of_fcos() -> None:
    """All levels at once; the boxes of positive points alone have a loss."""
    head = FCOSHead(
        num_classes=NUM_CLASSES,
        in_channels=4,
        stacked_convs=0,
        strides=[8, 16],
        regress_ranges=((-1, 20), (20, 1e8)),
        loss_bbox=dict(type="IoULoss", loss_weight=1.0),
    )
    rows = UncertaintyRows(NUM_CLASSES)
    torch.manual_seed(1)
    scores = [torch.randn(2, NUM_CLASSES, h, w).double() for h, w in SIZES]
    boxes = [8 + 8 * torch.rand(2, 4, h, w).double() for h, w in SIZES]
    centerness = [torch.randn(2, 1, h, w).double() for h, w in SIZES]
    points = head.prior_generator.grid_priors(SIZES, dtype=torch.double, device="cpu")
    labels, targets = head.get_targets(points, TRUTHS)
    weigh(head, rows)
    of_scores = [2 * torch.rand(2 * h * w).double() for h, w in SIZES]
    of_boxes = [torch.rand(2 * h * w).double() for h, w in SIZES]
    rows.start(of_scores, of_boxes)
    losses = head.loss_by_feat(scores, boxes, centerness, TRUTHS, [META] * 2)

    def rows_of(maps: list[Tensor]) -> Tensor:
        return torch.cat([x.movedim(1, -1).flatten(0, 2) for x in maps])

    label, target = torch.cat(labels), torch.cat(targets)
    each = FocalLoss()(rows_of(scores), label, reduction_override="none").sum(1)
    classification = ((-torch.cat(of_scores)).exp() * each).sum()
    positive = label < NUM_CLASSES
    alpha, target = torch.cat(of_boxes)[positive], target[positive]
    centers = torch.cat([x.repeat(2, 1) for x in points])[positive]
    each = IoULoss()(
        distance2bbox(centers, rows_of(boxes)[positive]),
        distance2bbox(centers, target),
        weight=head.centerness_target(target),
        reduction_override="none",
    )
    regression = ((-alpha).exp() * each).sum()
    assert 2 < len(alpha) < 30
    torch.testing.assert_close(losses["loss_cls"], classification / len(alpha))
    weight = head.centerness_target(target).sum()
    torch.testing.assert_close(losses["loss_bbox"], regression / weight)
    torch.testing.assert_close(rows.mean("cls"), torch.cat(of_scores).mean())
    torch.testing.assert_close(rows.mean("bbox"), alpha.mean())


def test_rows_without_weight() -> None:
    """Ignored RoIs count neither in the loss nor in α's mean."""
    rows = UncertaintyRows(NUM_CLASSES)
    alpha, scores = 2 * torch.rand(5), torch.randn(5, NUM_CLASSES + 1)
    labels, weights = torch.tensor([0, 2, 3, 3, 1]), torch.tensor([1, 1, 0, 0.5, 0])
    rows.start([alpha], [alpha])
    loss = UncertainLoss(CrossEntropyLoss(loss_weight=2.0), rows, "cls")
    entropy = weights * F.cross_entropy(scores, labels, reduction="none")
    expected = 2 * ((-alpha).exp() * entropy).sum() / 3
    torch.testing.assert_close(loss(scores, labels, weights, avg_factor=3), expected)
    torch.testing.assert_close(rows.mean("cls"), alpha[[0, 1, 3]].mean())


# The gradient of w and b.


def train_branch(loss: float, tau: float, steps: int = 250) -> list[float]:
    """Train α alone by e^{-α} L + τ mean(α); return its mean after each step."""
    layer, x = branch(5), torch.randn(16, 5)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.03 / tau)
    rows = UncertaintyRows(NUM_CLASSES)
    weigh_loss = UncertainLoss(SmoothL1Loss(beta=1e-9), rows, "bbox")
    values = torch.full((16, 1), loss)
    means = []
    for _ in range(steps):
        alpha = layer(x)
        rows.start([alpha], [alpha])
        rows.of_scores(torch.zeros(16, dtype=torch.long))
        total = weigh_loss(values, torch.zeros_like(values), avg_factor=16)
        optimizer.zero_grad()
        (total + tau * rows.mean("bbox")).backward()
        optimizer.step()
        means.append(layer(x).mean().item())
    return means


def test_alpha_settles_at_the_logarithm() -> None:
    """dL/dα = 0 at α = ln(L / τ), where L is above τ; else α falls to 0."""
    means = train_branch(3.0, 0.5)
    assert means[0] > 0.1 and means[0] < means[5] < means[20]
    assert means[-1] == pytest.approx(math.log(6), abs=0.01)
    means = train_branch(0.2, 0.5, steps=100)
    assert min(means) >= 0 and means[-1] < means[0] and means[-1] < 0.02


@pytest.mark.parametrize("std", [0.1, 1.0, 10.0])
def test_features_of_any_scale(std: float) -> None:
    """α >= 0 only lowers losses: training stays finite and does not die out."""
    layer, x = branch(256), std * torch.randn(32, 256)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(50):
        optimizer.zero_grad()
        alpha = layer(x)
        (3 * (-alpha).exp() + 0.5 * alpha).mean().backward()
        assert torch.nn.utils.clip_grad_norm_(layer.parameters(), 35).isfinite()
        optimizer.step()
        assert 0 < alpha.mean() < 10


# What can go wrong.


def test_rows_that_do_not_fit() -> None:
    rows = UncertaintyRows(NUM_CLASSES, num_anchors=2)
    alphas = [torch.rand(4), torch.rand(1)]
    rows.start(alphas, alphas)
    with pytest.raises(
        ValueError, match=r"losses of \[8, 2\] rows.*got 7; uncertainty"
    ):
        rows.of_scores(torch.zeros(7))
    assert len(rows.of_scores(torch.zeros(8))) == 8
    with pytest.raises(ValueError, match="expected 8 box rows or the 8 positive"):
        rows.of_boxes(3)
    for wrong in (8, 10):  # the next level has 2, and it is too late for all
        with pytest.raises(ValueError, match=f"got {wrong}"):
            rows.of_scores(torch.zeros(wrong))


def test_labels_that_are_no_objects() -> None:
    """Some heads mark ignored rows by -1; the background is the last class."""
    rows = UncertaintyRows(NUM_CLASSES)
    alpha = torch.arange(5.0)
    rows.start([alpha], [10 * alpha])
    rows.of_scores(torch.tensor([-1, 0, NUM_CLASSES, 2, NUM_CLASSES]))
    assert rows.of_boxes(2).tolist() == [10.0, 30.0]
    assert rows.of_boxes(5).tolist() == [0.0, 10.0, 20.0, 30.0, 40.0]


def test_weights_of_other_rows() -> None:
    """FSAF has one weight per class of a row."""
    rows = UncertaintyRows(NUM_CLASSES)
    rows.start([torch.rand(4)], [torch.rand(4)])
    loss = UncertainLoss(FocalLoss(), rows, "cls")
    with pytest.raises(ValueError, match="a weight for each of 4 rows, got 12"):
        loss(torch.randn(4, 3), torch.zeros(4).long(), torch.ones(12))
