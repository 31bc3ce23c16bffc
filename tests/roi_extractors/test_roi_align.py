"""On a CPU: the numbers and gradients of mmcv's operator, by other means."""

import pytest
import torch
from mmcv.ops import RoIAlign
from torch import Tensor

from fpn_necks.roi_extractors.roi_align import PixelSumRoIAlign


def rois_of(number: int = 40, images: int = 2) -> Tensor:
    """RoIs inside and across the border of 96 x 72 pixels, and odd ones."""
    random = torch.Generator().manual_seed(0)
    starts = torch.rand(number, 2, generator=random) * 130 - 30
    sides = torch.rand(number, 2, generator=random) ** 3 * 90
    image = torch.randint(images, (number, 1), generator=random)
    odd = [
        [0, 8, 8, 8, 8],  # no extent
        [1, -400, -400, -300, -300],  # far outside
        [1, -400, -400, 900, 900],  # around everything
        [0, 0, 0, 96, 72],
        [0, 96, 72, 100, 76],  # begins where the map ends
    ]
    return torch.cat([torch.cat([image, starts, starts + sides], 1), torch.tensor(odd)])


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(18, 24), (1, 24), (2, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_operator(
    aligned: bool, ratio: int, size: tuple[int, int], dtype: torch.dtype
) -> None:
    settings = dict(output_size=(3, 5), spatial_scale=1 / 4, sampling_ratio=ratio)
    rois = rois_of().to(dtype)
    torch.manual_seed(0)
    maps = torch.randn(2, 6, *size, dtype=dtype, requires_grad=True)
    found = PixelSumRoIAlign(**settings, aligned=aligned)(maps, rois)
    expected = RoIAlign(**settings, aligned=aligned)(maps, rois)
    assert found.is_contiguous() and found.dtype == dtype
    near = dict(atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, expected, **near)
    direction = torch.randn_like(found)
    gradients = [torch.autograd.grad(y, maps, direction)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, **near)


def test_memory_formats_and_boxes_that_want_gradients() -> None:
    layer = PixelSumRoIAlign(2, 1 / 4, sampling_ratio=2)
    maps, rois = torch.randn(2, 6, 18, 24, requires_grad=True), rois_of()
    expected = layer(maps, rois)
    rows = maps.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    found = layer(rows, rois.requires_grad_())
    assert torch.equal(found, expected)
    found.sum().backward()
    assert rois.grad is None and rows.grad.any()


def test_maxima_and_traces_are_the_operators() -> None:
    maps, rois = torch.randn(2, 6, 18, 24), rois_of()
    settings = dict(output_size=2, spatial_scale=1 / 4, sampling_ratio=2)
    found = PixelSumRoIAlign(**settings, pool_mode="max")(maps, rois)
    assert torch.equal(found, RoIAlign(**settings, pool_mode="max")(maps, rois))
    assert PixelSumRoIAlign(**settings)(maps, rois[:0]).shape == (0, 6, 2, 2)
    traced = torch.jit.trace(PixelSumRoIAlign(**settings), (maps, rois))
    assert "embedding_bag" not in str(traced.inlined_graph)
