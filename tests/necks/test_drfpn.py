import math
from pathlib import Path

import mmdet
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import nn

from fpn_necks.layers import SpatialRefinement
from fpn_necks.necks import DRFPN
from tests.layers.plain_refinement import plain_spatial_refinement
from tests.necks.test_equals_fpn import maps

CHANNELS = [8, 16, 24, 32]
GN = dict(type="GN", num_groups=4)
FASTER_RCNN = Path(mmdet.__file__).parent / (
    ".mim/configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
)


def build(channels=CHANNELS, out_channels: int = 16, **arguments) -> DRFPN:
    torch.manual_seed(0)
    arguments["srb"] = {"zero_init": False, **arguments.get("srb", {})}
    neck = DRFPN(channels, out_channels, **{"num_outs": 5, **arguments})
    neck.init_weights()
    return neck


@pytest.mark.parametrize(
    ("top_down", "bottom_up"),
    [("srb", "crb"), ("crb", "srb"), ("srb+crb", "plain"), ("plain", "none")],
)
def test_every_order_of_the_blocks(top_down: str, bottom_up: str) -> None:
    """Tables 2 and 3: the paths merge what the blocks give, and no more."""
    neck = build(
        top_down=top_down, bottom_up=bottom_up, context="none", crb=dict(norm_cfg=GN)
    ).double()
    inputs = [m.double() for m in maps(33, 50)]
    laterals = neck.lateral_convs(inputs)
    merged = list(laterals)
    for i in (2, 1, 0):
        connection = neck.top_down_connections[i]
        low, high = merged[i], merged[i + 1]
        kept, passed = low, F.interpolate(high, size=low.shape[2:])
        if "crb" in top_down:
            kept = connection.channel_refinement(low, high)
        if "srb" in top_down:
            passed = plain_spatial_refinement(connection.spatial_refinement, low, high)
        merged[i] = kept + passed
    merged = neck.fpn_convs(merged)
    expected = list(merged)
    for i in range(3) if bottom_up != "none" else ():
        connection = neck.bottom_up_connections[i]
        low, high = merged[i], merged[i + 1]
        kept = high
        if bottom_up == "crb":
            kept = connection.channel_refinement(low, high)
        if bottom_up == "srb":
            passed = plain_spatial_refinement(connection.spatial_refinement, low, high)
        else:
            passed = connection.downsample(low)
        merged[i + 1] = kept + passed
        expected[i + 1] = neck.bottom_up_convs[i](merged[i + 1])
    for ours, plain in zip(neck(inputs), expected, strict=False):
        torch.testing.assert_close(ours, plain)


def test_blocks_get_their_arguments() -> None:
    neck = build(
        top_down="srb+crb",
        bottom_up="srb",
        srb=dict(inputs="add", base_grid="identity", offset_scale="mean-side"),
        crb=dict(guide="cat", norm_cfg=GN),
        upsample_cfg=dict(mode="bilinear"),
    )
    spatial = [m for m in neck.modules() if isinstance(m, SpatialRefinement)]
    assert len(spatial) == 6
    assert {block.path for block in spatial} == {"top-down", "bottom-up"}
    for block in spatial:
        assert (block.inputs, block.base_grid) == ("add", "identity")
        assert block.offset_scale == "mean-side"
        assert block.upsample_cfg == dict(mode="bilinear")
    channel = neck.top_down_connections[0].channel_refinement
    assert channel.guide == "cat" and isinstance(channel.weight_conv.norm, nn.GroupNorm)


def test_conv_settings_reach_the_bottom_up_path() -> None:
    settings = dict(norm_cfg=GN, act_cfg=dict(type="ReLU"))
    neck = build(**settings)
    blocks = [*neck.fpn_convs, *neck.bottom_up_convs]
    blocks += [connection.downsample for connection in neck.bottom_up_connections]
    for block in blocks:
        assert isinstance(block.norm, nn.GroupNorm) and block.with_activation


def test_initialisation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    neck = DRFPN(CHANNELS, 16, num_outs=5, srb=dict(zero_init=False))
    deconv = neck.top_down_connections[0].spatial_refinement.resample
    before = deconv.weight.clone()
    neck.init_weights()
    bound = math.sqrt(6 / (2 * 8 * 9))  # Xavier's, for 8 channels and a 3x3 kernel
    assert not torch.equal(deconv.weight, before)
    assert 0.9 * bound < deconv.weight.abs().max() <= bound
    assert not deconv.bias.any()
    # Weights that are loaded stay, where blocks would start at zero.
    path = tmp_path / "neck.pth"
    torch.save(neck.state_dict(), path)
    loaded = dict(type="Pretrained", checkpoint=str(path))
    trained = build(srb=dict(zero_init=True), init_cfg=loaded)
    for name, parameter in neck.named_parameters():
        assert torch.equal(trained.get_parameter(name), parameter), name


def detector(**neck) -> nn.Module:
    """Build mmdet's Faster R-CNN, for 80 classes, where nothing is computed."""
    model = Config.fromfile(FASTER_RCNN).model
    model.backbone.init_cfg = model.data_preprocessor = None
    if neck:
        model.neck.update(type="DRFPN", **neck)
    with torch.device("meta"):
        return MODELS.build(model)


@pytest.mark.parametrize(
    ("neck", "millions"),
    [
        (dict(), 41.53),
        (dict(context="none"), 47.79),
        (dict(context="ppm"), 48.38),
        (dict(context="non-local"), 49.95),
        (dict(context="dense-aspp"), 60.05),
    ],
    ids=str,
)
def test_parameters_of_table_7(neck: dict, millions: float) -> None:
    model = detector(**neck)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert f"{trained / 1e6:.2f}" == f"{millions:.2f}"
