import math
import sys
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from mmdet.models.losses import FocalLoss
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from torch import Tensor, nn

from fpn_necks.auxiliary import DenseAuxiliary
from fpn_necks.auxiliary.dense_form import resize
from tests import neck_cases
from tests.data_samples import data_sample

HEIGHT, WIDTH = 72, 104  # 9 x 13 cells of stride 8: odd sides on every level
STRIDES = [8, 16, 32]
NUM_CLASSES = 3
CHANNELS = 6
ANCHORS = dict(type="AnchorGenerator", ratios=[0.5, 1.0], strides=STRIDES)
ANCHORS |= dict(octave_base_scale=4, scales_per_octave=1)
MAX_IOU = dict(type="MaxIoUAssigner", pos_iou_thr=0.4, neg_iou_thr=0.3, min_pos_iou=0)
FOCAL = dict(type="FocalLoss", use_sigmoid=True)
GIOU = dict(type="GIoULoss", loss_weight=2.0)
ONE_ANCHOR = ANCHORS | dict(ratios=[1.0])
RANGES = ((-1, 30), (30, 60), (60, 1e8))
RETINA = dict(type="RetinaHead", anchor_generator=ANCHORS, loss_cls=FOCAL)
FCOS = dict(type="FCOSHead", strides=STRIDES, regress_ranges=RANGES)
ATSS = dict(type="ATSSHead", anchor_generator=ONE_ANCHOR, loss_cls=FOCAL)
QUALITY = dict(type="QualityFocalLoss")
HEADS: dict[str, dict[str, Any]] = {
    "retinanet": RETINA,
    "retinanet-decoded": RETINA | dict(loss_bbox=GIOU, reg_decoded_bbox=True),
    "fcos": FCOS,
    "fcos-norm-on-bbox": FCOS
    | dict(norm_on_bbox=True, centerness_on_reg=True, center_sampling=True)
    | dict(loss_bbox=dict(type="GIoULoss")),
    "atss": ATSS | dict(loss_bbox=GIOU),
    "gfl": ATSS | dict(type="GFLHead", reg_max=8, loss_cls=QUALITY, loss_bbox=GIOU),
}
# FreeAnchor has RetinaNet's get_targets, but does not use it.
FREE_ANCHOR = RETINA | dict(type="FreeAnchorRetinaHead")
FREE_ANCHOR |= dict(loss_bbox=dict(type="SmoothL1Loss"))
every_head = pytest.mark.parametrize("name", HEADS)
CERTAIN = ["retinanet", "retinanet-decoded", "fcos", "fcos-norm-on-bbox", "atss"]
OBJECTS = [[8.0, 8, 40, 40], [50.0, 10, 90, 60], [30.0, 30, 47, 51]]


def head_config(name: str) -> ConfigDict:
    sizes = dict(num_classes=NUM_CLASSES, in_channels=4, feat_channels=32)
    head = FREE_ANCHOR if name == "free-anchor" else HEADS[name]
    return ConfigDict(head | sizes | dict(stacked_convs=1))


def train_cfg(name: str) -> ConfigDict:
    atss = dict(type="ATSSAssigner", topk=4)
    assigner = atss if name in ("atss", "gfl") else MAX_IOU
    return ConfigDict(assigner=assigner, allowed_border=-1, pos_weight=-1)


class StubDetector(nn.Module):
    """A dense head, and what the form looks at elsewhere."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.backbone = nn.Identity()
        self.backbone.out_indices = (0, 1, 2, 3)
        self.neck = nn.Identity()
        self.neck.in_channels = [3, 4, 5, 6]
        head = settings["bbox_head"] | dict(train_cfg=settings["train_cfg"])
        self.bbox_head = MODELS.build(head)


def build(name: str, **arguments: Any) -> tuple[StubDetector, DenseAuxiliary]:
    """Return a detector's head and the form that supervises its backbone."""
    torch.manual_seed(0)
    settings = dict(bbox_head=head_config(name), train_cfg=train_cfg(name))
    detector = StubDetector(settings)
    arguments = dict(feature_channels=CHANNELS) | arguments
    auxiliary = DenseAuxiliary(detector, settings, **arguments)
    auxiliary.init_weights()
    for name, parameter in auxiliary.named_parameters():
        if "uncertainty" not in name and parameter.dim() == 4:
            nn.init.normal_(parameter, std=0.3)
    return detector, auxiliary


def some_samples(*boxes: list[list[float]]) -> list[DetDataSample]:
    return [data_sample(rows, size=(HEIGHT, WIDTH)) for rows in boxes]


def maps_of(widths: list[int], finest_stride: int = STRIDES[0]) -> list[Tensor]:
    size = HEIGHT // finest_stride, WIDTH // finest_stride
    maps = neck_cases.backbone_maps(size, channels=widths)
    return [x.requires_grad_() for x in maps]


def backbone_maps() -> dict[str, Tensor]:
    return dict(zip(["c2", "c3", "c4"], maps_of([3, 4, 5], 4), strict=True))


def supervise(
    detector: StubDetector,
    auxiliary: DenseAuxiliary,
    samples: Any,
    features: Any = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    features = backbone_maps() if features is None else features
    with auxiliary.recording(detector) as recorded:
        main = detector.bbox_head.loss(tuple(maps_of([4] * 3)), samples)
    return main, auxiliary.loss(detector, features, recorded, samples)


def predictions_of(auxiliary: DenseAuxiliary) -> dict[str, Any]:
    """Collect what each level's head returns from now on, by the level's name."""
    predicted: dict[str, Any] = {}
    for level, predictor in auxiliary.predictors.items():
        predictor.head.register_forward_hook(
            lambda _m, _x, y, level=level: predicted.update({level: y})
        )
    return predicted


def plain_losses(name: str, outputs: Any, samples: Any, **changes: Any) -> Any:
    """The losses of these predictions as a plain head computes them."""
    config = head_config(name) | dict(train_cfg=train_cfg(name))
    truths, ignored, metas = unpack_gt_instances(samples)
    head = MODELS.build(config | changes)
    return head.loss_by_feat(*outputs, truths, metas, ignored)


# One map at several strides.


def plain_resize(x: Tensor, scale: float, size: tuple[int, int]) -> Tensor:
    """Cell by cell."""
    result = x.new_zeros(*x.shape[:2], *size)
    for i in range(size[0]):
        for j in range(size[1]):
            s = max(int(scale), 1)
            top, left = int(i * scale), int(j * scale)
            result[:, :, i, j] = x[:, :, top : top + s, left : left + s].mean((2, 3))
    return result


@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 2, 8, 32])
@pytest.mark.parametrize("size", [(16, 24), (9, 13), (1, 1)])
def test_resize(size: tuple[int, int], scale: float) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    height, width = (math.ceil(side / scale) for side in size)
    # A finer map may have a row less than twice the coarser map's.
    for less in (0, 1) if scale == 0.5 else (0,):
        expected = plain_resize(x, scale, (height - less, width - less))
        found = resize(x, tuple(expected.shape[-2:]), scale)
        torch.testing.assert_close(found, expected)


def test_resize_where_a_side_is_rounded_down() -> None:
    assert resize(torch.rand(1, 1, 4, 6), (9, 13), 0.5).shape == (1, 1, 9, 13)
    constant = resize(torch.full((1, 1, 9, 13), 3.0), (4, 6), 2.0)
    assert torch.equal(constant, torch.full((1, 1, 4, 6), 3.0))


# Targets.


@every_head
def test_losses_are_those_of_a_head_of_its_own(name: str) -> None:
    """A plain head computes targets and losses for the same predictions itself."""
    detector, auxiliary = build(name, loss_weight=0.7)
    predicted, samples = predictions_of(auxiliary), some_samples(OBJECTS, [])
    main, found = supervise(detector, auxiliary, samples)
    names = {key.split(".")[1] for key in found}
    assert names == {key for key in main if "loss" in key} and len(predicted) == 3
    for level, outputs in predicted.items():
        expected = plain_losses(name, outputs, samples)
        for key in names:
            loss = expected[key]
            total = sum(loss) if isinstance(loss, list) else loss
            torch.testing.assert_close(found[f"aux.{key}.{level}"], 0.7 * total)
            assert total > 0
    # Maps of different strides do not give the same.
    assert len({float(found[f"aux.loss_cls.{level}"]) for level in predicted}) == 3


@pytest.mark.parametrize("strides", [[8], [16, 32], [32, 8]])
def test_strides_are_a_part_of_the_whole(strides: list[int]) -> None:
    """RetinaNet's losses are per level, divided by the positives of all levels."""
    detector, auxiliary = build("retinanet")
    _, part = build("retinanet", strides=strides)
    part.load_state_dict(auxiliary.state_dict())
    predicted, samples = predictions_of(auxiliary), some_samples(OBJECTS, OBJECTS[:1])
    supervise(detector, auxiliary, samples)
    _, found = supervise(detector, part, samples)
    places = [STRIDES.index(stride) for stride in sorted(strides)]
    for level, outputs in predicted.items():
        for key, loss in plain_losses("retinanet", outputs, samples).items():
            total = sum(loss[i] for i in places)
            torch.testing.assert_close(found[f"aux.{key}.{level}"], total)
            assert total < sum(loss)


def test_strides_of_fcos() -> None:
    """FCOS counts the positives of the levels that it has."""
    detector, auxiliary = build("fcos", strides=[32, 16])
    predicted, samples = predictions_of(auxiliary), some_samples(OBJECTS, [])
    _, found = supervise(detector, auxiliary, samples)
    own = dict(strides=[16, 32], regress_ranges=RANGES[1:])
    expected = plain_losses("fcos", predicted["c3"], samples, **own)
    assert len(expected) == 3
    for key, loss in expected.items():
        torch.testing.assert_close(found[f"aux.{key}.c3"], loss)
        assert loss > 0


# Uncertainty.


@pytest.mark.parametrize("name", CERTAIN)
def test_uncertainty(name: str) -> None:
    """A constant α of ln 2 halves both losses and costs τ ln 2."""
    detector, plain = build(name)
    _, auxiliary = build(name, uncertainty_weight=0.3, loss_weight=0.5)
    auxiliary.load_state_dict(plain.state_dict(), strict=False)
    for key, parameter in auxiliary.named_parameters():
        if "uncertainty" in key:
            nn.init.constant_(parameter, math.log(2) if key.endswith("bias") else 0)
    samples = some_samples(OBJECTS, [])
    _, expected = supervise(detector, plain, samples)
    _, found = supervise(detector, auxiliary, samples)
    for level in ("c2", "c3", "c4"):
        for kind in ("cls", "bbox"):
            loss = found[f"aux.loss_{kind}.{level}"]
            torch.testing.assert_close(loss, expected[f"aux.loss_{kind}.{level}"] / 4)
            alpha = found[f"aux.alpha_{kind}.{level}"]
            torch.testing.assert_close(alpha, torch.tensor(math.log(2)))
            assert not alpha.requires_grad
            mean = found[f"aux.loss_{kind}_alpha.{level}"]
            torch.testing.assert_close(mean, torch.tensor(0.15 * math.log(2)))
            assert mean.requires_grad
        if "retinanet" not in name:  # centerness is not weighted: neither class nor box
            key = f"aux.loss_centerness.{level}"
            torch.testing.assert_close(found[key], expected[key] / 2)


def test_uncertain_retinanet_location_by_location() -> None:
    """The α of a cell weighs the anchors of that cell, on every level and image."""
    detector, auxiliary = build("retinanet", uncertainty_weight=0.5, levels=["c3"])
    predictor = auxiliary.predictors["c3"]
    maps, predicted = [], predictions_of(auxiliary)
    predictor.head.register_forward_pre_hook(lambda _m, x: maps.extend(x[0]))
    layer = predictor.uncertainty["cls"].layer
    nn.init.normal_(layer.weight, std=0.5)
    samples = some_samples(OBJECTS, OBJECTS[1:])
    with auxiliary.recording(detector) as recorded:
        detector.bbox_head.loss(tuple(maps_of([4] * 3)), samples)
    found = auxiliary.loss(detector, backbone_maps(), recorded, samples)
    labels, weights, _, _, factor = recorded["targets"][0]
    total, alphas = 0.0, []
    for x, scores, label, weight in zip(
        maps, predicted["c3"][0], labels, weights, strict=True
    ):
        alpha = (x * layer.weight).sum(1) + layer.bias  # (N, H, W)
        alpha = alpha.relu()[..., None].expand(-1, -1, -1, 2)  # two anchors per cell
        logits = scores.permute(0, 2, 3, 1).reshape(-1, NUM_CLASSES)
        each = FocalLoss()(logits, label.flatten(), reduction_override="none").sum(1)
        alpha, weight = alpha.flatten(), weight.flatten()
        total = total + ((-alpha).exp() * each * weight).sum() / factor
        alphas.append(alpha[weight > 0])
    torch.testing.assert_close(found["aux.loss_cls.c3"], total)
    mean = torch.cat(alphas).mean()
    torch.testing.assert_close(found["aux.alpha_cls.c3"], mean.detach())
    torch.testing.assert_close(found["aux.loss_cls_alpha.c3"], 0.5 * mean)


# What is built.


@every_head
def test_convs_are_one_by_one_and_initialised_as_the_main_heads(name: str) -> None:
    torch.manual_seed(0)
    settings = dict(bbox_head=head_config(name), train_cfg=train_cfg(name))
    detector = StubDetector(settings)
    auxiliary = DenseAuxiliary(detector, settings, feature_channels=64)
    auxiliary.init_weights()
    detector.bbox_head.init_weights()
    main = dict(detector.bbox_head.named_modules())
    for level, predictor in auxiliary.predictors.items():
        width = {"c2": 3, "c3": 4, "c4": 5}[level]
        assert predictor.pre_conv.weight.shape == (64, width, 1, 1)
        bound = (6 / (64 + width)) ** 0.5
        assert 0.8 * bound < predictor.pre_conv.weight.abs().max().item() <= bound
        modules = predictor.head.named_modules()
        convs = {k: module for k, module in modules if isinstance(module, nn.Conv2d)}
        assert len(convs) >= 2
        for key, conv in convs.items():
            assert conv.weight.shape == (main[key].out_channels, 64, 1, 1)
            assert conv.padding == (0, 0) and torch.equal(conv.bias, main[key].bias)
            assert conv.weight.std().item() == pytest.approx(0.01, rel=0.25)
        (scores,) = [conv for key, conv in convs.items() if key.endswith("cls")]
        prior = torch.full_like(scores.bias, 0.01)
        torch.testing.assert_close(scores.bias.sigmoid(), prior)


@every_head
def test_checkpointed_losses_have_the_same_gradients(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep less for the backward pass, in which no process waits for others."""
    averaged = Mock(side_effect=lambda x: x)
    module = sys.modules[type(build(name)[0].bbox_head).__module__]
    monkeypatch.setattr(module, "reduce_mean", averaged, raising=False)
    results, kept = [], []
    for with_cp in (True, False):
        uncertain = 0.5 if name in CERTAIN else None
        detector, auxiliary = build(name, with_cp=with_cp, uncertainty_weight=uncertain)
        features, sizes = backbone_maps(), []
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x
        )
        samples = some_samples(OBJECTS, [])
        with auxiliary.recording(detector) as recorded:
            detector.bbox_head.loss(tuple(maps_of([4] * 3)), samples)
        with hooks:
            losses = auxiliary.loss(detector, features, recorded, samples)
        kept.append(sum(sizes))
        in_forward = averaged.call_count
        sum(v for k, v in losses.items() if "loss" in k).backward()
        assert averaged.call_count == in_forward
        tensors = (*auxiliary.parameters(), *features.values())
        results.append((losses, [x.grad for x in tensors]))
    for key, loss in results[0][0].items():
        assert torch.equal(loss, results[1][0][key])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(a, b)
    assert all(x.grad.any() for x in features.values())
    assert kept[0] < kept[1] * (0.1 if auxiliary._losses_stay_in_process else 0.9)
    assert averaged.called == ("retinanet" not in name)


def test_f_pre_is_not_linear() -> None:
    """Otherwise it and the convs behind it were one linear map."""
    _, auxiliary = build("retinanet")
    predictor = auxiliary.predictors["c3"]
    nn.init.zeros_(predictor.pre_conv.bias)
    x = backbone_maps()["c3"]
    (found,) = predictor.maps(x, [x.shape[-2:]] * 3)[:1]
    assert torch.equal(found, predictor.pre_conv(x).relu())
    assert (found == 0).any() and (found > 0).any()
