import math
from pathlib import Path

import mmdet
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fpn_necks.layers import SpatialRefinement
from fpn_necks.necks import DRFPN
from tests.layers.plain_refinement import plain_spatial_refinement

CHANNELS = [8, 16, 24, 32]
GN = dict(type="GN", num_groups=4)
FASTER_RCNN = Path(mmdet.__file__).parent / (
    ".mim/configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
)


def maps(
    height: int = 32, width: int = 48, batch: int = 2, channels=CHANNELS
) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    sizes = [(math.ceil(height / 2**i), math.ceil(width / 2**i)) for i in range(4)]
    return [
        torch.randn(batch, c, *size, generator=random).requires_grad_()
        for c, size in zip(channels, sizes, strict=True)
    ]


def build(channels=CHANNELS, out_channels: int = 16, **arguments) -> DRFPN:
    torch.manual_seed(0)
    arguments["srb"] = {"zero_init": False, **arguments.get("srb", {})}
    neck = DRFPN(channels, out_channels, **{"num_outs": 5, **arguments})
    neck.init_weights()
    return neck


@pytest.mark.parametrize("top_down", ["plain", "srb"])
def test_it_starts_as_fpn_bit_for_bit(top_down: str) -> None:
    """Without any refinement, or with spatial blocks that start at zero."""
    arguments = dict(top_down=top_down, bottom_up="none", context="none")
    neck = build(**arguments, srb=dict(zero_init=True))
    fpn = FPN(CHANNELS, 16, num_outs=5)
    keys = neck.load_state_dict(fpn.state_dict(), strict=False).missing_keys
    assert bool(keys) == (top_down == "srb")
    if keys:
        released = build(**arguments)
        released.load_state_dict(fpn.state_dict(), strict=False)
        assert not torch.equal(released(maps())[0], fpn(maps())[0])
    for ours, theirs in zip(neck(maps()), fpn(maps()), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("size", [(32, 48), (33, 49)], ids=str)
def test_plain_paths_equal_a_plain_network_bit_for_bit(size: tuple[int, int]) -> None:
    neck = build(top_down="plain", bottom_up="plain", context="none")
    weights = neck.state_dict()

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight, bias = weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"]
        return F.conv2d(x, weight, bias, stride, padding=weight.shape[2] // 2)

    merged = [conv(c, f"lateral_convs.{i}") for i, c in enumerate(maps(*size))]
    for i in (2, 1, 0):
        upper = F.interpolate(merged[i + 1], size=merged[i].shape[2:])
        merged[i] = merged[i] + upper
    merged = [conv(m, f"fpn_convs.{i}") for i, m in enumerate(merged)]
    for i in (0, 1, 2):
        lower = conv(merged[i], f"bottom_up_connections.{i}.downsample", stride=2)
        merged[i + 1] = merged[i + 1] + lower
    expected = [merged[0]]
    expected += [conv(merged[i + 1], f"bottom_up_convs.{i}") for i in (0, 1, 2)]
    expected.append(F.max_pool2d(expected[-1], 1, stride=2))
    for ours, plain in zip(neck(maps(*size)), expected, strict=True):
        assert torch.equal(ours, plain)


@pytest.mark.parametrize("top_down", ["srb", "crb", "srb+crb", "plain"])
@pytest.mark.parametrize("bottom_up", ["crb", "srb", "plain", "none"])
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

    kinds = {
        path: {type(module).__name__ for module in connections.modules()}
        for path, connections in (
            ("top_down", neck.top_down_connections),
            ("bottom_up", neck.bottom_up_connections),
        )
    }
    for path, choice in (("top_down", top_down), ("bottom_up", bottom_up)):
        assert ("SpatialRefinement" in kinds[path]) == ("srb" in choice)
        assert ("ChannelRefinement" in kinds[path]) == ("crb" in choice)


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


def test_inner_levels() -> None:
    """The released code ignores ``end_level``: here it selects as in FPN."""
    neck = build(num_outs=2, start_level=1, end_level=2, crb=dict(norm_cfg=GN))
    assert neck.lateral_convs[-1].reduce.in_channels == CHANNELS[2]
    selected = build(CHANNELS[1:3], num_outs=2, crb=dict(norm_cfg=GN))
    selected.load_state_dict(neck.state_dict())
    inputs = maps()
    for ours, theirs in zip(neck(inputs), selected(inputs[1:3]), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("by_position", [True, False])
def test_conv_settings_reach_the_bottom_up_path(by_position: bool) -> None:
    settings = dict(conv_cfg=None, norm_cfg=GN, act_cfg=dict(type="ReLU"))
    if by_position:
        neck = DRFPN(CHANNELS, 16, 5, 0, -1, False, False, False, *settings.values())
    else:
        neck = DRFPN(CHANNELS, 16, 5, **settings)
    blocks = [*neck.fpn_convs, *neck.bottom_up_convs]
    blocks += [connection.downsample for connection in neck.bottom_up_connections]
    for block in blocks:
        assert isinstance(block.norm, nn.GroupNorm) and block.with_activation
    plain = build()
    assert not any(block.with_norm for block in plain.bottom_up_convs)


def test_one_image_in_training() -> None:
    inputs = maps(batch=1)
    with pytest.raises(ValueError, match=r"crb=dict\(norm_cfg=dict\(type='GN'"):
        build()(inputs)
    assert len(build().eval()(inputs)) == 5
    assert len(build(crb=dict(norm_cfg=GN))(inputs)) == 5
    assert len(build(bottom_up="plain")(inputs)) == 5


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
    path = tmp_path / "neck.pth"
    torch.save(neck.state_dict(), path)
    loaded = dict(type="Pretrained", checkpoint=str(path))
    trained = build(srb=dict(zero_init=True), init_cfg=loaded)
    for name, parameter in neck.named_parameters():
        assert torch.equal(trained.get_parameter(name), parameter), name
    own = DRFPN(
        CHANNELS, 16, num_outs=5, init_cfg=dict(type="Constant", layer="Conv2d")
    )
    assert own.init_cfg == dict(type="Constant", layer="Conv2d")
    assert DRFPN(CHANNELS, 16, num_outs=5, init_cfg=None).init_cfg is None


def detector(**neck) -> nn.Module:
    """Build mmdet's Faster R-CNN, for 80 classes, where nothing is computed."""
    model = Config.fromfile(FASTER_RCNN).model
    model.backbone.init_cfg = model.data_preprocessor = None
    if neck:
        model.neck.update(type="DRFPN", **neck)
    with torch.device("meta"):
        return MODELS.build(model)


TABLE_7 = [
    # neck, trained parameters (M) and multiply-adds (G) of the whole detector
    (dict(), 41.53, 207),
    (dict(context="none"), 47.79, 263),
    (dict(context="ppm"), 48.38, 263),
    (dict(context="non-local"), 49.95, 265),
    (dict(context="dense-aspp"), 60.05, 275),
]


@pytest.mark.parametrize(("neck", "millions", "giga"), TABLE_7, ids=str)
def test_cost_of_table_7(neck: dict, millions: float, giga: int) -> None:
    """For an image of 1280x800 px and 1000 RoIs; the paper does not state the size.

    Its count takes the deconvolutions at the size of their result, which is four times
    what they need, and it counts the released operations.
    """
    model = detector(**neck)
    trained = (p.numel() for p in model.parameters() if p.requires_grad)
    parameters = sum(trained)
    assert f"{parameters / 1e6:.2f}" == f"{millions:.2f}"

    with FlopCounterMode(display=False) as counter:
        features = model.neck(
            model.eval().backbone(torch.empty(1, 3, 800, 1280, device="meta"))
        )
        model.rpn_head(features)
        model.roi_head.bbox_head(torch.empty(1000, 256, 7, 7, device="meta"))
    found = counter.get_total_flops() / 2e9
    if neck:
        merged, plain = spatial_costs(model.neck)
        assert merged < plain
        found += plain - merged
    assert found == pytest.approx(giga, abs=1)


def spatial_costs(neck: nn.Module) -> tuple[float, float]:
    """Return multiply-adds of the spatial blocks (G): ours, and as Table 7 counts."""
    costs = []
    for i, connection in enumerate(neck.top_down_connections):
        block = connection.spatial_refinement
        low, high = (
            torch.empty(1, 256, 200 // 2**k, 320 // 2**k, device="meta")
            for k in (i, i + 1)
        )
        both = []
        for function in (block, lambda *x, block=block: plain_on_meta(block, *x)):
            with FlopCounterMode(display=False) as counter:
                function(low, high)
            both.append(counter.get_total_flops() / 2e9)
        deconvolution = high[0, 0].numel() * 128 * 128 * 9 / 1e9
        costs.append((both[0], both[1] + 3 * deconvolution))
    return tuple(map(sum, zip(*costs, strict=True)))


def plain_on_meta(block: SpatialRefinement, low: Tensor, high: Tensor) -> Tensor:
    with torch.device("meta"):
        return plain_spatial_refinement(block, low, high)
