"""The ASFF stage of the released YOLOv3."""

import re

import pytest
import torch
from torch import nn

from fpn_necks.necks import ASFF
from fpn_necks.released.detectors import convert_detector
from tests.golden import golden
from tests.released import old_detectors as old


def build_stage() -> ASFF:
    stage = ASFF(
        in_channels=[16, 8, 4],
        out_channels=[32, 16, 8],
        lead_channels=[None, None, 8],
        order="coarse_to_fine",
    )
    return stage.eval()


def test_stage_computes_the_released_levels() -> None:
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


def test_conv_before_the_finest_level() -> None:
    """It is the last of the released module list, 3x3, BN and LeakyReLU(0.1)."""
    state = old.released_yolov3()
    stage = build_stage()
    stage.load_state_dict(convert_detector("asff", state).state_dict)
    x = torch.randn(1, 4, 12, 16)
    lead = {
        k.removeprefix("module_list.32."): v
        for k, v in state.items()
        if k.startswith("module_list.32.")
    }
    y = nn.functional.conv2d(x, lead["conv.weight"], padding=1)
    statistics = [lead[f"batch_norm.running_{part}"] for part in ("mean", "var")]
    affine = [lead[f"batch_norm.{part}"] for part in ("weight", "bias")]
    y = nn.functional.batch_norm(y, *statistics, *affine)
    expected = nn.functional.leaky_relu(y, 0.1)
    torch.testing.assert_close(stage.lead_convs[2](x), expected)


def test_what_is_left_out() -> None:
    state = old.released_yolov3()
    conversion = convert_detector("asff", state)
    assert conversion.dropped == [
        k for k in state if k.startswith("module_list.0.") or "header" in k
    ]
    (note,) = conversion.notes
    stage = eval(re.search(r"ASFF\(.*?\)", note)[0], {"ASFF": ASFF})
    assert [c.out_channels for c in stage.fusions[0].scores.compress] == [16] * 3
    assert stage.lead_convs[2].conv.weight.shape == (256, 128, 3, 3)


def test_refusals() -> None:
    state = old.released_yolov3()
    baseline = {k: v for k, v in state.items() if "fusion" not in k}
    with pytest.raises(ValueError, match="no ASFF in it"):
        convert_detector("asff", baseline)
    mobile = {k.replace("_fusion.", "_conv."): v for k, v in state.items()}
    with pytest.raises(ValueError, match="the MobileNet variant"):
        convert_detector("asff", mobile)
    state.pop("module_list.32.batch_norm.bias")
    with pytest.raises(ValueError, match="missing .'module_list.32.batch_norm.b"):
        convert_detector("asff", state)
    state = old.released_yolov3()
    state.pop("level_2_fusion.expand.conv.weight")
    with pytest.raises(ValueError, match="level_2_fusion.*missing .'expand.conv.w"):
        convert_detector("asff", state)
