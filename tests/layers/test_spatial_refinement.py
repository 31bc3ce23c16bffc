import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpn_necks.layers import SpatialRefinement
from tests.golden import golden
from tests.layers.plain_refinement import (
    peak_bytes,
    plain_offset_and_weight,
    plain_spatial_refinement,
)
from tests.neck_cases import backbone_maps

RELEASED_NAMES = {
    "down_h.weight": "reduce_source.weight",
    "down_l.weight": "reduce_target.weight",
    "deconv.weight": "resample.weight",
    "deconv.bias": "resample.bias",
    "offset_make.weight": "offset.weight",
    "spatial_weight.0.weight": "weight_hidden.weight",
    "spatial_weight.2.weight": "weight.weight",
    "spatial_weight.2.bias": "weight.bias",
}
EXACT = dict(atol=1e-10, rtol=1e-10)


def build(channels: int = 6, **arguments) -> SpatialRefinement:
    torch.manual_seed(0)
    block = SpatialRefinement(channels, **{"zero_init": False, **arguments})
    return block.double()


def levels(low: tuple[int, int] = (8, 12)) -> list[Tensor]:
    maps = backbone_maps(low, channels=[6, 6])
    return [x.double().requires_grad_() for x in maps]


def test_parity() -> None:
    case = golden("drfpn_srb")
    block = SpatialRefinement(8)
    assert set(RELEASED_NAMES) == set(case.state)
    block.load_state_dict({RELEASED_NAMES[k]: v for k, v in case.state.items()})
    low, high = case.inputs["low"], case.inputs["high"]
    outputs = {"y": block(low, high)}
    case.check_outputs(outputs)
    offset, weight = block.offset_and_weight(low, high)
    torch.testing.assert_close(offset, case.middle["offset"], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(weight, case.middle["weight"], atol=2e-5, rtol=1e-5)
    case.backward(outputs)
    found = {k: block.get_parameter(v).grad for k, v in RELEASED_NAMES.items()}
    case.check_gradients({**found, "in/low": low.grad, "in/high": high.grad})


@pytest.mark.parametrize("path", ["top-down", "bottom-up"])
@pytest.mark.parametrize("inputs", ["cat", "low", "high", "add"])
@pytest.mark.parametrize("low_size", [(8, 12), (7, 11)], ids=str)
def test_equals_the_plain_operations(path: str, inputs: str, low_size) -> None:
    block = build(path=path, inputs=inputs)
    low, high = levels(low_size)
    for ours, theirs in zip(
        block.offset_and_weight(low, high),
        plain_offset_and_weight(block, low, high),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **EXACT)

    ours, theirs = block(low, high), plain_spatial_refinement(block, low, high)
    torch.testing.assert_close(ours, theirs, **EXACT)
    cotangent = torch.randn_like(ours)
    roots = [low, high, *block.parameters()]
    gradients = (
        torch.autograd.grad(y, roots, cotangent, allow_unused=True)
        for y in (ours, theirs)
    )
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def column_ramp(rows: int, columns: int) -> Tensor:
    """A map whose values are the numbers of its columns."""
    return torch.arange(columns).double().expand(1, 2, rows, columns)


@pytest.mark.parametrize("path", ["top-down", "bottom-up"])
@pytest.mark.parametrize("scale", ["size", "mean-side"])
@pytest.mark.parametrize("base_grid", ["released", "identity"])
def test_sampling_points(path: str, scale: str, base_grid: str) -> None:
    """Sampling a ramp gives the sampling points themselves."""
    block = build(2, path=path, offset_scale=scale, base_grid=base_grid)
    sizes = [(6, 20), (3, 10)]
    low, high = (column_ramp(*size) for size in sizes)
    source, target = (high, low) if path == "top-down" else (low, high)
    offset_x = 0.6
    offset = torch.zeros_like(target)  # 2 channels: x and y
    offset[:, 0] = offset_x
    block.offset_and_weight = lambda low, high: (offset, None)
    if path == "top-down":
        resized = F.interpolate(high, scale_factor=2)
    else:
        resized = block.downsample(low)
    sampled = (block(low, high) - resized)[0, 0]

    height, width = target.shape[2:]
    cells = torch.arange(width).double()
    released = base_grid == "released"
    base = cells / (width - 1) * 2 - 1 if released else (2 * cells + 1) / width - 1
    divisor = width if scale == "size" else (height + width) / 2
    expected = ((base + offset_x / divisor + 1) * source.shape[3] - 1) / 2
    inside = (expected >= 0) & (expected <= source.shape[3] - 1)
    assert inside.sum() >= width - 3
    torch.testing.assert_close(sampled[height // 2, inside], expected[inside], **EXACT)


def test_each_subtask_alone() -> None:
    """Table 4: without δ the grid stays, without ω samples count fully."""
    low, high = levels()
    upsampled = F.interpolate(high, scale_factor=2)
    rows, columns = (torch.linspace(-1, 1, n, dtype=torch.double) for n in (8, 12))
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    still = F.grid_sample(high, grid.expand(2, -1, -1, -1), align_corners=False)

    no_offset = build(sampling_offset=False)
    offset, weight = no_offset.offset_and_weight(low, high)
    assert offset is None and not hasattr(no_offset.offset, "weight")
    torch.testing.assert_close(
        no_offset(low, high), upsampled + weight * still, **EXACT
    )

    no_weight = build(sampling_weight=False)
    offset, weight = no_weight.offset_and_weight(low, high)
    assert weight is None and offset.abs().max() > 0.01
    both = build()
    both.load_state_dict(no_weight.state_dict(), strict=False)
    nn.init.zeros_(both.weight.weight)
    nn.init.ones_(both.weight.bias)
    torch.testing.assert_close(no_weight(low, high), both(low, high), **EXACT)


def test_memory_stays_below_the_plain_operations() -> None:
    torch.manual_seed(0)
    block = SpatialRefinement(64, zero_init=False)
    low = torch.randn(1, 64, 64, 96, requires_grad=True)
    high = torch.randn(1, 64, 32, 48, requires_grad=True)
    ours = peak_bytes(block, low, high)
    plain = peak_bytes(lambda *maps: plain_spatial_refinement(block, *maps), low, high)
    # The result, the samples and their gradients alone take more than this.
    assert 3 * low.nbytes < ours < 0.8 * plain
