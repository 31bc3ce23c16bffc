import pytest
import torch
import torch.nn.functional as F
from mmengine.model import revert_sync_batchnorm
from torch import Tensor

from fpn_necks.layers import ChannelRefinement
from tests.golden import every_file, golden
from tests.layers.plain_refinement import plain_channel_refinement
from tests.neck_cases import backbone_maps

GN = dict(type="GN", num_groups=2)
RELEASED_PARTS = {
    "supervise_conv1x1": "weight_conv",
    "input_conv3x3": "feature_conv",
}
EXACT = dict(atol=1e-10, rtol=1e-10)


def build(channels: int = 6, **arguments) -> ChannelRefinement:
    torch.manual_seed(0)
    return ChannelRefinement(channels, **arguments).double()


def levels(batch: int = 2) -> list[Tensor]:
    maps = backbone_maps((7, 9), batch, channels=[6, 6])
    return [x.double().requires_grad_() for x in maps]


@every_file("drfpn_crb_train", "drfpn_crb_eval")
def test_parity(name: str) -> None:
    """The file's guide has 6 channels: two empty ones give it the 8 of the input."""
    case = golden(name)
    guide, x = case.inputs["supervise"], case.inputs["input"]

    def our_name(theirs: str) -> str:
        part, _, rest = theirs.partition(".")
        return f"{RELEASED_PARTS[part]}.{rest}"

    state = {our_name(k): v for k, v in case.state.items()}
    state["weight_conv.conv.weight"] = F.pad(
        state["weight_conv.conv.weight"], (0, 0, 0, 0, 0, 2)
    )
    block = ChannelRefinement(8)
    block.load_state_dict(state)
    block.train(name.endswith("_train"))
    outputs = {"y": block(F.pad(guide, (0, 0, 0, 0, 0, 2)), x)}
    case.check_outputs(outputs)
    case.backward(outputs)
    parameters = dict(block.named_parameters())
    found = {
        theirs: parameters[our_name(theirs)].grad
        for theirs in case.state
        if our_name(theirs) in parameters
    }
    guide_weight = "supervise_conv1x1.conv.weight"
    found[guide_weight] = found[guide_weight][:, :6]
    case.check_gradients({**found, "in/supervise": guide.grad, "in/input": x.grad})
    buffers = dict(block.named_buffers())
    for theirs, expected in case.after.items():
        torch.testing.assert_close(buffers[our_name(theirs)], expected)


@pytest.mark.parametrize("guide", ["low", "high", "add", "cat"])
@pytest.mark.parametrize("train", [True, False])
def test_equals_the_plain_operations(guide: str, train: bool) -> None:
    block = build(guide=guide).train(train)
    low, high = levels()
    ours = block(low, high)
    block = build(guide=guide).train(train)
    theirs = plain_channel_refinement(block, low, high)
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("guide", ["low", "high", "add", "cat"])
def test_top_down_swaps_the_levels(guide: str) -> None:
    block = build(path="top-down", guide=guide)
    low, high = levels()
    upper, lower = (x.mean(dim=(2, 3), keepdim=True) for x in (high, low))
    means = {"low": upper, "high": lower, "add": upper + lower}
    if guide == "cat":
        means["cat"] = block.reduce(torch.cat([upper, lower], dim=1))
    expected = block.feature_conv(low) * block.weight_conv(means[guide])
    torch.testing.assert_close(block(low, high), expected, **EXACT)
    assert block.downsample is None


def test_one_image_in_training_needs_another_norm() -> None:
    maps = levels(batch=1)
    block = build()
    with pytest.raises(ValueError, match="one image per batch") as error:
        block(*maps)
    assert "crb=dict(norm_cfg=dict(type='GN', num_groups=32))" in str(error.value)
    assert block.eval()(*maps).isfinite().all()
    assert build(norm_cfg=GN)(*maps).isfinite().all()
    assert build(norm_cfg=None)(*maps).isfinite().all()
    # What mmengine replaces SyncBN by where there is one process.
    synced = revert_sync_batchnorm(build(norm_cfg=dict(type="SyncBN")))
    with pytest.raises(ValueError, match="one image per batch"):
        synced.double()(*maps)

    # Frozen statistics need one image: mmdet's ``norm_eval`` sets the norms alone.
    block.train()
    for part in (block.weight_conv, block.feature_conv):
        part.norm.eval()
    assert block(*maps).isfinite().all()
