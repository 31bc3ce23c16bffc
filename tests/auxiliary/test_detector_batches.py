"""Batches and precisions that make detectors stumble: losses must stay sound."""

import functools
from typing import Any

import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from torch import Tensor, nn

from tests.auxiliary.cases import (
    CASES,
    auxiliary_losses,
    gradients_of,
    has_rpn,
    losses_of,
    supervised,
)

all_cases = pytest.mark.parametrize("name", CASES)
# mmdet's own HTC fails without any RoI.
two_stages = pytest.mark.parametrize(
    "name", [name for name in CASES if "rcnn" in name and "htc" not in name]
)


def steps(name: str) -> list[Any]:
    model = supervised(name)
    owners = [model.auxiliary] if not has_rpn(model) else [model.rpn_head]
    owners += [getattr(model, "bbox_head", None), getattr(model, "roi_head", None)]
    owners += [getattr(model.auxiliary, "proposals", None)]
    found: list[Any] = []
    for owner in owners:
        for name in ("assigner", "sampler", "bbox_assigner", "bbox_sampler"):
            part = getattr(owner, name, None)
            found += part if isinstance(part, list) else [part]
    return [getattr(part, "sampler", part) for part in found if part is not None]


def let_ignored_boxes_count(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in steps(name):
        if isinstance(part, MaxIoUAssigner | ATSSAssigner):
            monkeypatch.setattr(part, "ignore_iof_thr", 0.5)


def allow_no_positives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in steps(name):
        if isinstance(part, MaxIoUAssigner):
            monkeypatch.setattr(part, "pos_iou_thr", 1.1)
            monkeypatch.setattr(part, "min_pos_iou", 1.1)
        elif hasattr(part, "add_gt_as_proposals"):
            monkeypatch.setattr(part, "add_gt_as_proposals", False)


@functools.cache
def usual_keys(name: str) -> list[str]:
    return list(auxiliary_losses(losses_of(supervised(name), "full")))


def assert_sound_step(name: str, kind: str) -> dict[str, Tensor]:
    """Assert finite losses and a gradient for every parameter; return the losses."""
    keys = usual_keys(name)
    model = supervised(name)
    losses = losses_of(model, kind)
    assert list(auxiliary_losses(losses)) == keys
    total, values = model.parse_losses(losses)
    assert all(torch.as_tensor(value).isfinite() for value in values.values()), values
    for key, gradient in gradients_of(model, total).items():
        if key.startswith(("auxiliary.", "backbone.")):
            assert gradient is not None, key
        if gradient is not None:
            assert gradient.isfinite().all(), key
    return auxiliary_losses(losses)


@all_cases
@pytest.mark.parametrize("kind", ["mixed", "empty", "ignored"])
def test_batches_without_objects(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_ignored_boxes_count(name, monkeypatch)
    losses = assert_sound_step(name, kind)
    boxes = {k: v for k, v in losses.items() if "loss_bbox." in k or "loss_mask." in k}
    assert boxes
    if kind.startswith("mixed"):
        assert any(loss > 0 for loss in boxes.values())
    else:
        assert all(loss == 0 for loss in boxes.values())


@all_cases
def test_objects_without_positives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_no_positives(name, monkeypatch)
    losses = assert_sound_step(name, "unreachable")
    assert all(loss == 0 for key, loss in losses.items() if "loss_bbox." in key)
    assert any(loss > 0 for key, loss in losses.items() if "loss_cls." in key)


@two_stages
@pytest.mark.parametrize("kind", ["mixed", "empty"])
def test_no_proposals(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = supervised(name).train_cfg.rpn_proposal
    monkeypatch.setitem(settings, "min_bbox_size", 1e4)
    losses = assert_sound_step(name, kind)
    if kind == "empty":
        assert all(v == 0 for k, v in losses.items() if "alpha" not in k), losses


def compute_in_single_precision(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let mmcv's NMS and RoIAlign of the detector itself have no bfloat16."""

    def convert(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.float()
        if isinstance(value, list | tuple):
            return type(value)(convert(part) for part in value)
        return value

    def in_single_precision(function: Any) -> Any:
        return lambda *args, **kwargs: function(*convert(args), **kwargs)

    parts = [(model.rpn_head, "predict_by_feat")]
    for module in model.roi_head.modules():
        if isinstance(module, BaseRoIExtractor):
            parts.append((module, "forward"))
    for part, method in parts:
        function = in_single_precision(getattr(part, method))
        monkeypatch.setattr(part, method, function)


@all_cases
def test_mixed_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = supervised(name)
    usual = losses_of(model, "mixed")
    if has_rpn(model):
        compute_in_single_precision(model, monkeypatch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = losses_of(model, "mixed")
    assert list(losses) == list(usual)
    total, values = model.parse_losses(losses)
    assert all(torch.as_tensor(value).isfinite() for value in values.values())
    for key, gradient in gradients_of(model, total).items():
        assert gradient is not None and gradient.isfinite().all(), key
    for key, loss in auxiliary_losses(losses).items():
        # Other RoIs may be sampled, so that values are alike only.
        assert loss.item() == pytest.approx(usual[key].item(), rel=0.5, abs=0.1), key
