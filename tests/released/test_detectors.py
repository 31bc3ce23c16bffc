import functools
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from fpn_necks import released
from fpn_necks.necks import ASFF
from fpn_necks.released.detectors import convert_detector
from tests.golden import golden
from tests.released import old_detectors as old

AUGFPN = dict(type="AugFPN", fusion="asf")
DOCUMENT = Path(__file__).parents[2] / "docs" / "released_checkpoints.md"


ONE_STAGE = AUGFPN | old.P3_P7 | dict(residual_to_extra_level=True)
TWO_STAGE = AUGFPN | old.P2_P6
# Detector, method, its neck, and whether it has the SoftRoIExtractor.
DETECTORS = [
    *((kind, "highfpn", TWO_STAGE, True) for kind in old.TWO_STAGE[1:]),
    ("faster-rcnn", "highfpn", TWO_STAGE, False),
    ("mask-rcnn", "soft-roi", dict(type="FPN") | old.P2_P6, True),
    ("retinanet", "highfpn-retinanet", ONE_STAGE, False),
    ("fcos", "highfpn-retinanet", ONE_STAGE, False),
]


@functools.cache
def augfpn_state(kind: str) -> dict[str, Tensor]:
    """Return the weights of a detector with AugFPN as its authors stored them."""
    two_stage = kind in old.TWO_STAGE
    config = old.tiny(kind, TWO_STAGE if two_stage else ONE_STAGE, soft_roi=two_stage)
    return old.to_mmdet_1(old.build(config, 1).state_dict())


@pytest.mark.parametrize(("kind", "method", "neck", "soft_roi"), DETECTORS)
def test_mmdet_1_detectors_compute_the_same(
    kind: str, method: str, neck: dict, soft_roi: bool
) -> None:
    config = old.tiny(kind, neck, soft_roi)
    trained, other = old.build(config, 1), old.build(config, 2)
    state = old.to_mmdet_1(trained.state_dict())
    assert not any("roi_head" in name or "residual_" in name for name in state)
    conversion = convert_detector(method, state)
    old.check_counts(conversion, state)
    assert conversion.dropped == [n for n in state if n.startswith("auxiliary_")]
    assert ("neck.fpn_convs.0.conv.weight" in conversion.kept) == (method == "soft-roi")
    assert any("style='caffe'" in x for x in conversion.notes) == (kind == "fcos")

    with pytest.raises(AssertionError):
        old.assert_same_results(other, trained)
    other.load_state_dict(conversion.state_dict)
    old.assert_same_results(other, trained)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("kind", "file"),
    [("cascade-mask-rcnn", "drfpn_frcnn_eval"), ("fcos", "drfpn_retinanet_train")],
)
def test_released_drfpn_inside_detectors(kind: str, file: str) -> None:
    pyramid = old.P2_P6 if kind in old.TWO_STAGE else old.P3_P7
    detector = old.build(old.tiny(kind, dict(type="FPN") | pyramid), 1)
    others = {k: v for k, v in detector.state_dict().items() if k[:5] != "neck."}
    state = {f"module.{old.renamed(k, old.DETECTOR_NAMES)}": others[k] for k in others}
    state |= {f"module.{k}": v for k, v in neck_of(file).items()}
    conversion = convert_detector("drfpn", state)
    assert bool(conversion.notes) == (kind == "fcos")

    case = golden(file)
    detector.neck = released.build("drfpn", **case.config)
    detector.load_state_dict(conversion.state_dict)
    for name, tensor in others.items():
        assert torch.equal(detector.state_dict()[name], tensor), name
    detector.neck.train(file.endswith("_train"))
    outputs = detector.neck([case.inputs[str(i)] for i in range(4)])
    case.check_outputs({str(i): x for i, x in enumerate(outputs)})


def test_layers_without_classes_stay_as_they_are() -> None:
    kept = {
        "mask_head.conv_logits.weight": torch.randn(1, 5, 1, 1),
        "bbox_head.0.fc_reg.weight": torch.randn(4, 5),
        "bbox_head.1.fc_reg.bias": torch.randn(4),
    }
    conversion = convert_detector("highfpn", kept | neck_of("augfpn_highfpn_bn_train"))
    for name, tensor in kept.items():
        assert conversion.state_dict[f"roi_head.{name}"] is tensor


def neck_of(file: str) -> dict[str, Tensor]:
    return {f"neck.{k}": v for k, v in golden(file).state.items()}


@pytest.mark.parametrize(
    ("method", "file"),
    [("highfpn", "augfpn_highfpn_bn_train"), ("drfpn", "drfpn_retinanet_train")],
)
@pytest.mark.parametrize("softmax", [True, False])
def test_softmax_rpn(method: str, file: str, softmax: bool) -> None:
    """Before mmdet 2.5 an anchor's scores were (background, object)."""
    rows = torch.arange(6.0 if softmax else 3.0)
    layers = {
        "rpn_head.rpn_cls.weight": rows[:, None, None, None],
        "rpn_head.rpn_cls.bias": rows,
        "rpn_head.rpn_reg.weight": torch.randn(12, 5, 1, 1),
    }
    conversion = convert_detector(method, neck_of(file) | layers)
    order = [1, 0, 3, 2, 5, 4] if softmax else [0, 1, 2]
    for name in list(layers)[:2]:
        assert conversion.state_dict[name].flatten().tolist() == order
    assert any("use_sigmoid=False" in x for x in conversion.notes) == softmax


ROI = "bbox_roi_extractor.spatial_attention_conv.0.bias"
BIAS = "neck.high_lateral_conv.1.bias"


@pytest.mark.parametrize(
    ("method", "kind", "removed", "added", "message"),
    [
        ("highfpn", "faster-rcnn", BIAS, "", "entries neck.*missing .'high.*1.bias'"),
        ("highfpn", "faster-rcnn", ROI, "", "entries bbox_roi.*missing .'spatial.*0.b"),
        ("highfpn", "faster-rcnn", "bbox_head.fc_cls.weight", "", "must have 4 rows"),
        ("highfpn", "faster-rcnn", "", "neck.gate.bias", "unknown .'gate.bias'"),
        ("highfpn", "faster-rcnn", "", "roi_head.x.bias", "highfpn: .'roi_head.x.bias"),
        ("highfpn", "faster-rcnn", "", "ema_backbone.x", "highfpn: .'ema_backbone.x'"),
        ("highfpn", "faster-rcnn", "", "bbox_head.fc_reg.weight", "4 rows.*has 13"),
        ("highfpn-retinanet", "fcos", "", "bbox_head.conv_cls.bias", "several entries"),
        ("soft-roi", "faster-rcnn", "", "", "soft-roi: .'neck.high_lateral_conv.0.wei"),
        ("soft-roi", "retinanet", "", "", "no SoftRoIExtractor in it"),
        ("drfpn", "faster-rcnn", "", "", "released drfpn: .*'bbox_roi_extractor.spat"),
        ("drfpn", "", "", "auxiliary_bbox_head.fc_cls.bias", "drfpn: .'auxiliary_bbox"),
        ("pafpn", "retinanet", "", "", "method must be one of"),
    ],
)
def test_wrong_entries(
    method: str, kind: str, removed: str, added: str, message: str
) -> None:
    state = dict(augfpn_state(kind) if kind else neck_of("drfpn_retinanet_train"))
    if removed:
        state.pop(removed)
    if added:
        state[added] = torch.zeros(13, 16)
    with pytest.raises(ValueError, match=message):
        convert_detector(method, state)


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
    conversion = convert_detector("asff", state)
    old.check_counts(conversion, state)
    stage = build_stage()
    stage.load_state_dict(conversion.state_dict)
    for level, case in enumerate(
        [golden("asff_level0_train"), golden("asff_level1_eval")]
    ):
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


def test_fcos_has_a_caffe_backbone() -> None:
    section = DOCUMENT.read_text().split("its config needs\n")[1]
    lines = re.search(r"```python\n(.*?)```", section, re.S)[1]
    settings = Config.fromstring(lines, ".py").model
    config = Config._merge_a_into_b(settings, old.tiny("fcos", ONE_STAGE))
    caffe = old.build(config, 2)
    state = convert_detector("highfpn-retinanet", augfpn_state("fcos")).state_dict
    caffe.load_state_dict(state)
    assert caffe.backbone.style == "caffe"
    assert not caffe.data_preprocessor._channel_conversion
    mean = caffe.data_preprocessor.mean.flatten()
    torch.testing.assert_close(mean, torch.tensor([102.9801, 115.9465, 122.7717]))
