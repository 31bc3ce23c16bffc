import pytest
import torch
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.task_modules.coders import LegacyDeltaXYWHBBoxCoder
from torch import Tensor

from fpn_necks.auxiliary import box_losses_per_level
from tests.golden import golden

NUM_CLASSES = 4
LEVELS = 4
# The released code has the background first, mmdet 3 has it last.
TO_MMDET = [1, 2, 3, 4, 0]
TO_RELEASED = [4, 0, 1, 2, 3]


def own_columns(per_class: Tensor, labels: Tensor) -> Tensor:
    """Take the columns of each row's class, ``(K, 4)``, from the released layout."""
    return per_class.reshape(len(labels), -1, 4)[torch.arange(len(labels)), labels]


def mmdet_labels(labels: Tensor) -> Tensor:
    return torch.where(labels > 0, labels - 1, NUM_CLASSES)


def test_parity_of_head_and_losses() -> None:
    case = golden("augfpn_auxhead")
    head = Shared2FCBBoxHead(
        in_channels=3, fc_out_channels=16, roi_feat_size=7, num_classes=NUM_CLASSES
    )
    state = dict(case.state)
    for part in ("weight", "bias"):
        state[f"fc_cls.{part}"] = state[f"fc_cls.{part}"][TO_MMDET]
        state[f"fc_reg.{part}"] = state[f"fc_reg.{part}"][4:]
    head.load_state_dict(state)
    score, boxes = head(case.inputs["bbox_feats"])
    case.check_outputs({"cls_score": score[:, TO_RELEASED]})
    expected = case.outputs["bbox_pred"][:, 4:]
    torch.testing.assert_close(boxes, expected, atol=2e-5, rtol=1e-5)

    target = case_targets(case)
    losses = box_losses_per_level(score, boxes, *target, LEVELS)
    assert len(losses) == 2 * LEVELS
    released = {
        name.replace("_level", ".level").replace("reg", "bbox"): name
        for name in case.outputs
        if name.startswith("loss")
    }
    for name, loss in losses.items():
        case.check_outputs({released[name]: loss[None]})

    # The gradient of all outputs; the background's boxes are not ours, and what they
    # give to the shared layers is added by the released formula.
    cotangents = case.cotangents
    total = (score[:, TO_RELEASED] * cotangents["cls_score"]).sum()
    total = total + (boxes * cotangents["bbox_pred"][:, 4:]).sum()
    hidden = case.inputs["bbox_feats"].flatten(1)
    for layer in head.shared_fcs:
        hidden = layer(hidden).relu()
    background = torch.nn.functional.linear(
        hidden, case.state["fc_reg.weight"][:4], case.state["fc_reg.bias"][:4]
    )
    total = total + (background * cotangents["bbox_pred"][:, :4]).sum()
    for name, loss in losses.items():
        total = total + (loss * cotangents[released[name]]).sum()
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


def case_targets(case) -> tuple[Tensor, ...]:
    """Return labels, label weights, box targets and box weights as mmdet has them."""
    labels = case.others["target/labels"].long()
    return (
        mmdet_labels(labels),
        case.others["target/label_weights"],
        own_columns(case.others["target/bbox_targets"], labels),
        own_columns(case.others["target/bbox_weights"], labels),
    )


def test_parity_of_the_loss_gradients() -> None:
    case = golden("augfpn_auxhead")
    score = case.outputs["cls_score"][:, TO_MMDET].requires_grad_()
    boxes = case.outputs["bbox_pred"][:, 4:].clone().requires_grad_()
    losses = box_losses_per_level(score, boxes, *case_targets(case), LEVELS)
    total = sum(losses.values())
    torch.testing.assert_close(total, case.others["lossgrad/total"])
    total.backward()
    found = score.grad[:, TO_RELEASED]
    torch.testing.assert_close(found, case.others["lossgrad/cls_score"])
    expected = case.others["lossgrad/bbox_pred"]
    assert not expected[:, :4].any(), "the background has no box"
    torch.testing.assert_close(boxes.grad, expected[:, 4:])


def test_released_targets_are_those_of_mmdets_legacy_coder() -> None:
    case = golden("augfpn_auxhead")
    coder = LegacyDeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    targets = case_targets(case)[2]
    start = 0
    for image in ("img0", "img1"):
        boxes, truths = (
            case.inputs[f"{image}.{kind}"].detach()
            for kind in ("pos_bboxes", "pos_gt_bboxes")
        )
        found = targets[start : start + len(boxes)]
        torch.testing.assert_close(coder.encode(boxes, truths), found)
        start += len(boxes) + len(case.inputs[f"{image}.neg_bboxes"])
    assert start == len(targets)


def random_case(num_rois: int, box_columns: int = 4 * NUM_CLASSES) -> tuple:
    random = torch.Generator().manual_seed(0)
    score = torch.randn(num_rois * 2, NUM_CLASSES + 1, generator=random)
    boxes = torch.randn(num_rois * 2, box_columns, generator=random)
    labels = torch.randint(0, NUM_CLASSES + 1, (num_rois,), generator=random)
    foreground = (labels < NUM_CLASSES).float()
    weights = torch.rand(num_rois, generator=random)
    targets = torch.randn(num_rois, 4, generator=random)
    box_weights = foreground[:, None].expand(-1, 4)
    return (
        score.double().requires_grad_(),
        boxes.double().requires_grad_(),
        labels,
        weights.double(),
        targets.double(),
        box_weights.double(),
    )


@pytest.mark.parametrize("columns", [4, 4 * NUM_CLASSES])
def test_equals_plain_loops(columns: int) -> None:
    score, boxes, labels, weights, targets, box_weights = random_case(7, columns)
    losses = box_losses_per_level(
        score, boxes, labels, weights, targets, box_weights, 2, loss_weight=0.5
    )
    for level in range(2):
        entropy = distance = 0.0
        for k, label in enumerate(labels.tolist()):
            row = k * 2 + level
            entropy -= weights[k] * score[row].log_softmax(0)[label]
            if label < NUM_CLASSES:
                first = 0 if columns == 4 else 4 * label
                for j in range(4):
                    error = (boxes[row, first + j] - targets[k, j]).abs()
                    distance += 0.5 * error**2 if error < 1 else error - 0.5
        torch.testing.assert_close(losses[f"loss_cls.level{level}"], 0.5 * entropy / 7)
        torch.testing.assert_close(
            losses[f"loss_bbox.level{level}"], 0.5 * distance / 7
        )


@pytest.mark.parametrize("num_rois", [0, 3])
def test_no_roi_or_no_object_is_finite_and_has_gradients(num_rois: int) -> None:
    score, boxes, _, weights, targets, _ = random_case(num_rois)
    background = torch.full((num_rois,), NUM_CLASSES)
    nothing = torch.zeros(num_rois, 4, dtype=torch.double)
    losses = box_losses_per_level(
        score, boxes, background, weights, targets, nothing, 2
    )
    total = sum(losses.values())
    total.backward()
    assert total.isfinite() and score.grad is not None and boxes.grad is not None
    assert not boxes.grad.any()
    assert losses["loss_bbox.level0"] == 0


def test_wrong_number_of_rows() -> None:
    score, boxes, *targets = random_case(3)
    with pytest.raises(ValueError, match="3 RoIs x 4 levels.*got 6 scores"):
        box_losses_per_level(score, boxes, *targets, 4)
