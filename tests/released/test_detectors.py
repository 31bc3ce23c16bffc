import re
from pathlib import Path

import pytest
import torch
from mmdet.models import Shared2FCBBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmengine.config import Config, ConfigDict
from torch import Tensor, nn

from fpn_necks import released
from fpn_necks.necks import ASFF
from fpn_necks.released.detectors import LAYOUTS, convert_detector
from tests.golden import golden
from tests.released import old_detectors as old

AUGFPN = dict(type="AugFPN", fusion="asf")
DOCUMENT = Path(__file__).parents[2] / "docs" / "released_checkpoints.md"


def augfpn_detector(kind: str, seed: int) -> nn.Module:
    two_stage = kind in old.TWO_STAGE
    neck = old.P2_P6 if two_stage else dict(**old.P3_P7, residual_to_extra_level=True)
    return old.build(old.tiny(kind, AUGFPN | neck, soft_roi=two_stage), seed)


def test_every_method_has_a_layout() -> None:
    assert set(LAYOUTS) == set(released.METHODS)


@pytest.mark.parametrize("kind", old.DETECTORS)
def test_augfpn_detectors_compute_the_same(kind: str) -> None:
    trained, other = augfpn_detector(kind, 1), augfpn_detector(kind, 2)
    state = old.to_mmdet_1(trained.state_dict())
    assert not any("roi_head" in name or "residual_" in name for name in state)
    method = "highfpn" if kind in old.TWO_STAGE else "highfpn-retinanet"
    conversion = convert_detector(method, state)
    old.check_counts(conversion, state)
    assert conversion.dropped == [n for n in state if n.startswith("auxiliary_")]
    assert all(n.startswith(("backbone", "rpn", "bbox", "mask"))
               for n in conversion.kept)  # fmt: skip

    assert set(conversion.state_dict) == set(trained.state_dict())
    with pytest.raises(AssertionError):
        old.assert_same_results(other, trained)
    other.load_state_dict(conversion.state_dict)
    old.assert_same_results(other, trained)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


@pytest.mark.parametrize("kind", old.DETECTORS)
@pytest.mark.parametrize(
    ("method", "file"),
    [
        ("highfpn", "augfpn_highfpn_frcnn"),
        ("highfpn-retinanet", "augfpn_highfpn_fcos"),
        ("drfpn", "drfpn_frcnn_eval"),
        ("drfpn", "drfpn_retinanet_train"),
    ],
)
def test_released_necks_inside_detectors(kind: str, method: str, file: str) -> None:
    case = golden(file)
    pyramid = old.P2_P6 if kind in old.TWO_STAGE else old.P3_P7
    detector = old.build(old.tiny(kind, dict(type="FPN") | pyramid), 1)
    others = {
        k: v for k, v in detector.state_dict().items() if not k.startswith("neck.")
    }
    old_names = old.to_mmdet_1(others) if "highfpn" in method else {
        old.renamed(k, old.DETECTOR_NAMES): v for k, v in others.items()
    }  # fmt: skip
    state = old_names | {f"neck.{k}": v for k, v in case.state.items()}
    conversion = convert_detector(method, {f"module.{k}": v for k, v in state.items()})
    old.check_counts(conversion, state)

    detector.neck = released.build(method, **case.config)
    detector.load_state_dict(conversion.state_dict)
    for name, tensor in others.items():
        assert torch.equal(detector.state_dict()[name], tensor), name
    detector.neck.train(file.endswith("_train"))
    outputs = detector.neck([case.inputs[str(i)] for i in range(4)])
    prefix = "" if method == "drfpn" else "outs."
    case.check_outputs({f"{prefix}{i}": x for i, x in enumerate(outputs)})


def test_drfpn_detectors_keep_the_names_around_the_neck() -> None:
    case = golden("drfpn_retinanet_train")
    neck = {f"neck.{k}": v for k, v in case.state.items()}
    kept = {
        "backbone.layer1.0.bn1.running_var": torch.ones(2),
        "roi_head.bbox_head.2.fc_cls.weight": torch.randn(4, 2),
        "roi_head.bbox_head.2.fc_reg.weight": torch.randn(12, 2),
        "roi_head.mask_head.1.conv_logits.bias": torch.randn(3),
        "bbox_head.cls_convs.0.conv.weight": torch.randn(2, 2, 3, 3),
    }
    conversion = convert_detector("drfpn", kept | neck)
    assert conversion.kept == list(kept)
    assert all(conversion.state_dict[name] is tensor for name, tensor in kept.items())
    assert conversion.notes == []


def test_class_scores_and_boxes_mean_the_same() -> None:
    """mmdet 1 by its definition: class 0 is the background, 1 to K are objects."""
    num_classes, width = old.CLASSES, 5
    random = torch.Generator().manual_seed(0)
    scores, boxes = nn.Linear(width, num_classes + 1), nn.Linear(width, 16)
    masks = nn.Conv2d(width, num_classes + 1, 1)
    layers = {"fc_cls": scores, "fc_reg": boxes}
    state = {
        f"bbox_head.{layer}.{name}": tensor
        for layer, module in layers.items()
        for name, tensor in module.state_dict().items()
    }
    state |= {f"mask_head.conv_logits.{n}": t for n, t in masks.state_dict().items()}
    soft_roi = {
        f"bbox_roi_extractor.{n}": t
        for n, t in golden("augfpn_softroi_legacy_sr2").state.items()
    }
    new = convert_detector("soft-roi", state | soft_roi).state_dict

    head = Shared2FCBBoxHead(
        in_channels=1, fc_out_channels=width, roi_feat_size=1, num_classes=num_classes
    )
    mask_head = FCNMaskHead(
        num_convs=0, in_channels=width, conv_out_channels=width,
        num_classes=num_classes, upsample_cfg=dict(type=None),
    )  # fmt: skip
    for layer in layers:
        getattr(head, layer).load_state_dict(
            {n: new[f"roi_head.bbox_head.{layer}.{n}"] for n in ("weight", "bias")}
        )
    mask_head.conv_logits.load_state_dict(
        {n: new[f"roi_head.mask_head.conv_logits.{n}"] for n in ("weight", "bias")}
    )
    x = torch.randn(6, width, generator=random)
    old_scores, new_scores = scores(x).softmax(1), head.fc_cls(x).softmax(1)
    torch.testing.assert_close(new_scores[:, num_classes], old_scores[:, 0])
    maps = torch.randn(2, width, 3, 3, generator=random)
    for label in range(1, num_classes + 1):
        torch.testing.assert_close(new_scores[:, label - 1], old_scores[:, label])
        torch.testing.assert_close(
            head.fc_reg(x).view(6, num_classes, 4)[:, label - 1],
            boxes(x).view(6, num_classes + 1, 4)[:, label],
        )
        torch.testing.assert_close(
            mask_head.conv_logits(maps)[:, label - 1], masks(maps)[:, label]
        )


def test_layers_without_classes_stay_as_they_are() -> None:
    kept = {
        "mask_head.conv_logits.weight": torch.randn(1, 5, 1, 1),
        "bbox_head.0.fc_reg.weight": torch.randn(4, 5),
        "bbox_head.1.fc_reg.bias": torch.randn(4),
    }
    state = kept | {
        f"neck.{k}": v for k, v in golden("augfpn_highfpn_bn_train").state.items()
    }
    conversion = convert_detector("highfpn", state)
    for name, tensor in kept.items():
        assert conversion.state_dict[f"roi_head.{name}"] is tensor


@pytest.mark.parametrize("method", ["highfpn", "drfpn"])
def test_softmax_rpn(method: str) -> None:
    """Before mmdet 2.5 an anchor's scores were (background, object)."""
    file = {"highfpn": "augfpn_highfpn_bn_train", "drfpn": "drfpn_retinanet_train"}
    neck = {f"neck.{k}": v for k, v in golden(file[method]).state.items()}
    layer = nn.Conv2d(5, 3 * 2, 1)
    sigmoid = {
        "rpn_head.rpn_cls.weight": torch.randn(3, 5, 1, 1),
        "rpn_head.rpn_cls.bias": torch.randn(3),
        "rpn_head.rpn_reg.weight": torch.randn(12, 5, 1, 1),
    }
    softmax = sigmoid | {
        f"rpn_head.rpn_cls.{name}": x for name, x in layer.state_dict().items()
    }
    x = torch.randn(2, 5, 4, 3)
    pairs = layer(x).permute(0, 2, 3, 1).reshape(-1, 2).softmax(1)
    conversion = convert_detector(method, neck | softmax)
    assert any("use_sigmoid=False" in note for note in conversion.notes)
    layer.load_state_dict(
        {n: conversion.state_dict[f"rpn_head.rpn_cls.{n}"] for n in ("weight", "bias")}
    )
    swapped = layer(x).permute(0, 2, 3, 1).reshape(-1, 2).softmax(1)
    torch.testing.assert_close(swapped, pairs.flip(1))

    conversion = convert_detector(method, neck | sigmoid)
    assert set(sigmoid) <= set(conversion.kept)
    assert not any("use_sigmoid" in note for note in conversion.notes)


def test_soft_roi_with_a_plain_fpn() -> None:
    config = old.tiny("mask-rcnn", dict(type="FPN") | old.P2_P6, soft_roi=True)
    trained, other = old.build(config, 1), old.build(config, 2)
    state = old.to_mmdet_1(trained.state_dict())
    conversion = convert_detector("soft-roi", state)
    old.check_counts(conversion, state)
    assert "neck.fpn_convs.0.conv.weight" in conversion.kept
    other.load_state_dict(conversion.state_dict)
    old.assert_same_results(other, trained)


def test_normal_extractors_have_no_weights() -> None:
    neck = AUGFPN | old.P2_P6
    trained, other = (old.build(old.tiny("faster-rcnn", neck), seed) for seed in (1, 2))
    conversion = convert_detector("highfpn", old.to_mmdet_1(trained.state_dict()))
    other.load_state_dict(conversion.state_dict)
    old.assert_same_results(other, trained)


@pytest.mark.parametrize(
    ("method", "file"),
    [
        ("asff", "asff_level0_train"),
        ("drfpn", "drfpn_retinanet_train"),
        ("highfpn", "augfpn_highfpn_bn_train"),
        ("soft-roi", "augfpn_softroi_legacy_sr2"),
    ],
)
def test_modules_alone(method: str, file: str) -> None:
    state = golden(file).state
    conversion = convert_detector(method, state)
    expected = released.convert(method, state)
    assert conversion.state_dict.keys() == expected.keys()
    assert all(conversion.state_dict[k] is v for k, v in expected.items())


def augfpn_state() -> dict[str, Tensor]:
    detector = augfpn_detector("faster-rcnn", 1)
    return old.to_mmdet_1(detector.state_dict())


NECK_BIAS = "high_lateral_conv.1.bias"


@pytest.mark.parametrize(
    ("method", "removed", "added", "message"),
    [
        ("highfpn", f"neck.{NECK_BIAS}", "", f"entries neck.*missing .'{NECK_BIAS}'"),
        ("highfpn", "", "neck.gate.bias", "unknown .'gate.bias'"),
        ("highfpn", "", "roi_head.x.bias", "with the released highfpn: .'roi_head.x.b"),
        ("highfpn", "", "ema_backbone.x", "released highfpn: .'ema_backbone.x'"),
        ("highfpn", "", "roi_head.bbox_head.fc_cls.bias", "highfpn: .'roi_head.bbox_h"),
        ("highfpn", "bbox_head.fc_cls.weight", "", "fc_reg.weight must have 4 rows"),
        (
            "highfpn",
            "bbox_roi_extractor.spatial_attention_conv.0.bias",
            "",
            "entries bbox_roi_extractor.*missing .'spatial_attention_conv.0.bias'",
        ),
        ("soft-roi", "", "", "released soft-roi: .'neck.high_lateral_conv.0.weight'"),
        ("drfpn", "", "", "with the released drfpn: .*'bbox_roi_extractor.spatial"),
        ("pafpn", "", "", "method must be one of"),
    ],
)
def test_wrong_entries(method: str, removed: str, added: str, message: str) -> None:
    state = augfpn_state()
    if removed:
        state.pop(removed)
    if added:
        state[added] = torch.zeros(3)
    with pytest.raises(ValueError, match=message):
        convert_detector(method, state)


@pytest.mark.parametrize(
    ("method", "kind", "name", "tensor", "message"),
    [
        (
            "highfpn",
            "faster-rcnn",
            "bbox_head.fc_reg.weight",
            torch.zeros(13, 16),
            "fc_reg.weight must have 4 rows.*has 13",
        ),
        (
            "highfpn-retinanet",
            "fcos",
            "bbox_head.conv_cls.bias",
            torch.zeros(3),
            "several entries would become .bbox_head.con",
        ),
        ("soft-roi", "retinanet", "", None, "no SoftRoIExtractor in it"),
    ],
)
def test_wrong_detectors(
    method: str, kind: str, name: str, tensor: Tensor | None, message: str
) -> None:
    state = old.to_mmdet_1(augfpn_detector(kind, 1).state_dict())
    state |= {name: tensor} if name else {}
    with pytest.raises(ValueError, match=message):
        convert_detector(method, state)


def test_only_augfpn_has_auxiliary_heads() -> None:
    neck = golden("drfpn_retinanet_train").state
    state = {f"neck.{k}": v for k, v in neck.items()}
    state["auxiliary_bbox_head.fc_cls.bias"] = torch.zeros(4)
    with pytest.raises(ValueError, match="drfpn: .'auxiliary_bbox_head.fc_cls.bias'"):
        convert_detector("drfpn", state)


def build_stage() -> ASFF:
    """The ASFF stage of the released YOLOv3, a few channels wide."""
    stage = ASFF(
        in_channels=[16, 8, 4],
        out_channels=[32, 16, 8],
        lead_channels=[None, None, 8],
        order="coarse_to_fine",
    )
    return stage.eval()


def test_asff_stage_computes_the_released_levels() -> None:
    state = old.released_yolov3()
    cases = [golden("asff_level0_train"), golden("asff_level1_eval")]
    for level, case in enumerate(cases):
        state |= {f"level_{level}_fusion.{k}": v for k, v in case.state.items()}
    conversion = convert_detector("asff", state)
    old.check_counts(conversion, state)
    stage = build_stage()
    stage.load_state_dict(conversion.state_dict)
    for level, case in enumerate(cases):
        fusion = stage.fusions[level].train(case.name.endswith("_train"))
        maps = [case.inputs[f"level_{i}"] for i in range(3)]
        case.check_outputs({"y": fusion(maps)})


def test_asff_conv_before_the_finest_level() -> None:
    """It is the last of the released module list, 3x3, BN and LeakyReLU(0.1)."""
    state = old.released_yolov3()
    stage = build_stage()
    stage.load_state_dict(convert_detector("asff", state).state_dict)
    x = torch.randn(1, 4, 12, 16)
    prefix = "module_list.32."
    y = nn.functional.conv2d(x, state[f"{prefix}conv.weight"], padding=1)
    parts = ("running_mean", "running_var", "weight", "bias")
    y = nn.functional.batch_norm(y, *(state[f"{prefix}batch_norm.{p}"] for p in parts))
    expected = nn.functional.leaky_relu(y, 0.1)
    torch.testing.assert_close(stage.lead_convs[2](x), expected)


def test_what_asff_leaves_out() -> None:
    state = old.released_yolov3()
    conversion = convert_detector("asff", state)
    assert conversion.dropped == [
        k for k in state if k.startswith("module_list.0.") or "header" in k
    ]
    (note,) = conversion.notes
    stage = eval(re.search(r"ASFF\(.*?\)", note)[0], {"ASFF": ASFF})
    assert [c.out_channels for c in stage.fusions[0].scores.compress] == [16] * 3
    assert stage.lead_convs[2].conv.weight.shape == (256, 128, 3, 3)


@pytest.mark.parametrize(
    ("old_text", "new_text", "message"),
    [
        ("_fusion.", None, "no ASFF in it"),
        ("_fusion.", "_conv.", "the MobileNet variant"),
        ("32.batch_norm.bias", None, "missing .'module_list.32.batch_norm.b"),
        ("2_fusion.expand.conv.weight", None, "level_2_fusion.*missing .'expand.conv"),
    ],
)
def test_wrong_asff(old_text: str, new_text: str | None, message: str) -> None:
    state = old.released_yolov3()
    if new_text is None:
        state = {k: v for k, v in state.items() if old_text not in k}
    else:
        state = {k.replace(old_text, new_text): v for k, v in state.items()}
    with pytest.raises(ValueError, match=message):
        convert_detector("asff", state)


def documented_settings(before: str) -> ConfigDict:
    """Return the first settings behind a text."""
    section = DOCUMENT.read_text().split(before)[1]
    lines = re.search(r"```python\n(.*?)```", section, re.S)[1]
    return Config.fromstring(lines, ".py").model


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("Two stages", "mask-rcnn"),
        ("Two stages", "faster-rcnn"),
        ("RetinaNet", "retinanet"),
        ("FCOS", "fcos"),
    ],
)
def test_documented_config_lines(heading: str, kind: str) -> None:
    """They build, run and give other results than today's conventions."""
    settings = documented_settings(f"\n### {heading}\n")
    if kind == "faster-rcnn":
        settings.roi_head.pop("mask_roi_extractor")
    neck = old.P2_P6 if kind in old.TWO_STAGE else old.P3_P7
    config = old.tiny(kind, AUGFPN | neck, soft_roi=kind in old.TWO_STAGE)
    todays = old.build(config, 1)
    merged = Config._merge_a_into_b(settings, config)
    detector = old.build(merged, 2)
    detector.load_state_dict(todays.state_dict())
    found, expected = old.predict(detector), old.predict(todays)
    assert len(found["scores"]) > 5
    if kind != "fcos":
        assert not torch.equal(found["bboxes"], expected["bboxes"])


def test_fcos_has_a_caffe_backbone() -> None:
    trained = augfpn_detector("fcos", 1)
    conversion = convert_detector(
        "highfpn-retinanet", old.to_mmdet_1(trained.state_dict())
    )
    assert any("style='caffe'" in note for note in conversion.notes)
    settings = documented_settings("its config needs\n")
    caffe = old.build(Config._merge_a_into_b(settings, trained_config()), 2)
    caffe.load_state_dict(conversion.state_dict)
    assert caffe.backbone.style == "caffe"
    assert not caffe.data_preprocessor._channel_conversion
    mean = caffe.data_preprocessor.mean.flatten()
    torch.testing.assert_close(mean, torch.tensor([102.9801, 115.9465, 122.7717]))

    conversion = convert_detector(
        "highfpn", old.to_mmdet_1(augfpn_detector("faster-rcnn", 1).state_dict())
    )
    assert not any("caffe" in note for note in conversion.notes)


def trained_config() -> ConfigDict:
    neck = AUGFPN | old.P3_P7 | dict(residual_to_extra_level=True)
    return old.tiny("fcos", neck)
