"""What a supervised detector must keep of the plain one, and what it must add."""

import functools
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.auxiliary.cases import (
    CASES,
    auxiliary_losses,
    batch,
    build,
    detector_config,
    gradients_of,
    has_rpn,
    hooks_of,
    losses_of,
    plain,
    supervised,
)

all_cases = pytest.mark.parametrize("name", CASES)


def main_part(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the auxiliary supervision adds to parameters or losses."""
    return {k: v for k, v in values.items() if not k.startswith(("auxiliary.", "aux."))}


assert_same = functools.partial(torch.testing.assert_close, rtol=0, atol=0)


# Test time


class Operators(TorchDispatchMode):
    """Lists every operator that runs, with the shapes that it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        result = function(*args, **(kwargs or {}))
        parts = result if isinstance(result, list | tuple) else [result]
        shapes = [tuple(part.shape) for part in parts if isinstance(part, Tensor)]
        self.calls.append((str(function), shapes))
        return result


# Testing has no code of ours (test_every_twin): one case of each form and kind.
@pytest.mark.parametrize(
    "name", ["retinanet-dense", "fcos-augfpn-roi", "htc-mask-rcnn", "faster-rcnn-dc5"]
)
def test_testing_is_that_of_the_plain_detector(name: str) -> None:
    """Same results, bit for bit, by the same operators, after a training step."""
    model, expected = supervised(name), plain(name)
    total, _ = model.parse_losses(losses_of(model, "mixed"))
    gradients_of(model, total)
    assert hooks_of(model) == hooks_of(expected)
    # BN has new statistics; a neck's factors are looked at after they were loaded.
    weights = model.state_dict()
    model.load_state_dict(weights)
    expected.load_state_dict(main_part(dict(weights)))
    results, operators = [], []
    for detector in (model, expected):
        detector.eval()
        images, samples = batch("full")
        with torch.no_grad(), Operators() as listed:
            found = detector(images, samples, mode="predict")
            raw = detector(images, samples, mode="tensor")
        detector.train()
        instances = [dict(sample.pred_instances.items()) for sample in found]
        results.append((instances, raw))
        operators.append(listed.calls)
    assert len(operators[1]) > 100
    assert operators[0] == operators[1]
    assert len(results[1][0][0]["scores"]) > 0, "there is nothing to compare"
    assert_same(results[0], results[1])


@all_cases
def test_checkpoints_fit_both_ways(name: str) -> None:
    """Only auxiliary keys are left over, or missing in the other direction."""
    weights, expected = supervised(name).state_dict(), plain(name).state_dict()
    # A seed gives the detector the weights that it gives the plain one.
    assert list(main_part(weights)) == list(expected)
    assert_same(main_part(weights), dict(expected))
    left_over = plain(name).load_state_dict(weights, strict=False)
    added = [key for key in weights if key.startswith("auxiliary.")]
    assert added and left_over.missing_keys == []
    assert left_over.unexpected_keys == added
    # Fine-tuning with auxiliary losses from a plain checkpoint.
    left_over = supervised(name).load_state_dict(expected, strict=False)
    assert left_over.missing_keys == added
    assert left_over.unexpected_keys == []


# Training


@all_cases
def test_main_losses_and_gradients_are_the_plain_detectors(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: the losses with any weight, the gradients with weight 0."""
    model, expected = supervised(name), plain(name)
    losses = losses_of(model, "mixed")
    assert sum(auxiliary_losses(losses).values()) > 0.1
    expected_losses = losses_of(expected, "mixed")
    assert_same(main_part(losses), expected_losses)
    total, _ = expected.parse_losses(expected_losses)
    expected_gradients = gradients_of(expected, total)

    model = supervised(name)
    monkeypatch.setattr(model.auxiliary, "loss_weight", 0.0)
    losses = losses_of(model, "mixed")
    assert all(loss == 0 for loss in auxiliary_losses(losses).values())
    assert_same(main_part(losses), expected_losses)
    total, _ = model.parse_losses(losses)
    assert_same(main_part(gradients_of(model, total)), expected_gradients)


@all_cases
def test_auxiliary_gradient_reaches_the_supervised_maps_alone(name: str) -> None:
    """Each level's losses reach its map; no proposal and no main head gets any."""
    model = supervised(name)
    levels = model.auxiliary.levels
    losses = auxiliary_losses(losses_of(model, "mixed"))
    laterals = tuple(f"{level.module}." for level in levels if level.is_lateral)
    for level in levels:
        own = {k: v for k, v in losses.items() if k.endswith(f".{level.name}")}
        gradients = gradients_of(model, sum(own.values()))
        reached = {k for k, v in gradients.items() if v is not None and v.any()}
        stage = f"backbone.layer{int(level.name[1:]) - 1}."
        target = f"{level.module}." if level.is_lateral else stage
        # The tiny images have no RoI for the coarser levels.
        if getattr(model.auxiliary, "assignment", "all") == "all" or level is levels[0]:
            assert any(key.startswith(target) for key in reached), level
            assert any(key.startswith(stage) for key in reached), level
            assert any(key.startswith("auxiliary.") for key in reached), level
        connected = {key for key, value in gradients.items() if value is not None}
        allowed = ("auxiliary.", "backbone.", *laterals)
        assert all(key.startswith(allowed) for key in connected), connected
        above = f"backbone.layer{int(level.name[1:])}."
        assert not any(key.startswith(above) for key in reached)


METHODS = "forward predict_by_feat get_targets loss_by_feat assign sample".split()


def watched(model: nn.Module) -> Iterator[tuple[Any, str]]:
    """Yield what must be computed once: objects, and names of methods."""
    dense = model.rpn_head if has_rpn(model) else model.bbox_head
    parts = [model.backbone, dense, getattr(model, "neck", None)]
    parts.append(getattr(dense, "assigner", None))
    if has_rpn(model):
        for own in (model.roi_head.bbox_assigner, model.roi_head.bbox_sampler):
            parts += own if isinstance(own, list) else [own]
    for part in parts:
        yield from ((part, method) for method in METHODS if hasattr(part, method))


@all_cases
def test_everything_is_computed_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for model in (supervised(name), plain(name)):
        with monkeypatch.context() as patch:
            mocks = []
            for part, method in list(watched(model)):
                mock = Mock(side_effect=getattr(part, method))
                patch.setattr(part, method, mock, raising=False)
                mocks.append((type(part).__name__, method, mock))
            losses_of(model, "full")
        counts.append([(kind, method, m.call_count) for kind, method, m in mocks])
    found, expected = counts
    # Backbone, dense head, boxes; a one-stage detector has none but for its own RoIs.
    assert found[0][2] == found[1][2] == 1
    if "roi" in name:
        assert (found.pop(2)[2], expected.pop(2)[2]) == (1, 0)
    assert found == expected


@pytest.mark.parametrize("name", ["retinanet-dense", "cascade-rcnn"])
def test_frozen_stages(name: str) -> None:
    """mmdet's default freezes C2: it gets no gradient, its auxiliary head does."""
    config = detector_config(name)
    config.backbone.frozen_stages = 1
    with pytest.warns(UserWarning, match="freezes all that computes c2: auxiliary"):
        model = build(config)
    total, _ = model.parse_losses(losses_of(model, "mixed"))
    gradients = gradients_of(model, total)
    assert not any(key.startswith("backbone.layer1.") for key in gradients)
    assert all(value is not None for value in gradients.values())
    assert any(value.any() for key, value in gradients.items() if "auxiliary" in key)
    assert gradients["backbone.layer2.0.downsample.0.weight"].any()
