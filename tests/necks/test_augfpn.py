import pytest
import torch
from mmdet.models.necks import FPN
from torch import nn

from fpn_necks.necks import AugFPN
from tests.neck_cases import IN_CHANNELS
from tests.necks.test_equals_fpn import PYRAMIDS, build, maps


@pytest.mark.parametrize("name", ["p2-p6", "retinanet", "fcos", "lateral"])
def test_residual_to_extra_level(name: str) -> None:
    """It reaches the first extra level and those derived from it, no other."""
    plain = build("AugFPN", **PYRAMIDS[name])
    context = build("AugFPN", **PYRAMIDS[name], residual_to_extra_level=True)
    assert list(plain.state_dict()) == list(context.state_dict())
    inputs = maps()
    average = plain.residual_features(inputs[3]).mean((2, 3), keepdim=True)
    num_used, num_outs = plain.levels.num_used, plain.levels.num_outs
    without, with_context = plain(inputs), context(inputs)
    for i in range(num_used):
        assert torch.equal(with_context[i], without[i])
    first = without[num_used] + average
    torch.testing.assert_close(with_context[num_used], first)
    if num_outs > num_used + 1:
        conv = context.fpn_convs[num_used + 1]
        source = first.relu() if context.relu_before_extra_convs else first
        torch.testing.assert_close(with_context[num_used + 1], conv(source))


def test_residual_comes_from_the_last_used_map() -> None:
    neck, inputs = build("AugFPN", num_outs=2, start_level=1, end_level=2), maps()
    assert neck.residual_features.convs[0].in_channels == IN_CHANNELS[2]
    sum(x.sum() for x in neck(inputs)).backward()
    assert [x.grad is not None for x in inputs] == [False, True, True, False]


def test_fusion_factor_is_that_of_s_alpha_fpn() -> None:
    factors = dict(num_outs=5, fusion_factor=[0.3, 0.2, 0.1])
    theirs, ours = build("SAlphaFPN", **factors), build("AugFPN", **factors)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    for parameter in ours.residual_features.parameters():
        nn.init.zeros_(parameter)
    for a, b in zip(ours(maps()), theirs(maps()), strict=True):
        assert torch.equal(a, b)


def test_parameters_of_the_published_models() -> None:
    """Three 1x1 convs on C5, and spatial fusion of three maps."""
    channels = [256, 512, 1024, 2048]
    count = {
        neck: sum(p.numel() for p in neck(channels, 256, num_outs=5).parameters())
        for neck in (AugFPN, FPN)
    }
    branches = 3 * (2048 * 256 + 256)
    fusion = 3 * 256 * 256 + 256 + 9 * 256 * 3 + 3
    assert count[AugFPN] - count[FPN] == branches + fusion
