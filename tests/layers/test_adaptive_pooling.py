import pytest
import torch
import torch.nn.functional as F

from fpn_necks.layers import adaptive_average_pool


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8), (6, 6), (7, 12), (25, 42)])
@pytest.mark.parametrize("shape", [(25, 42), (7, 5), (1, 9), (2, 2)], ids=str)
def test_equals_the_operator(shape, size) -> None:
    x = torch.randn(2, 3, *shape, dtype=torch.double, requires_grad=True)
    ours, theirs = adaptive_average_pool(x, size), F.adaptive_avg_pool2d(x, size)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    (ours_gradient,) = torch.autograd.grad((ours * weight).sum(), x)
    (theirs_gradient,) = torch.autograd.grad((theirs * weight).sum(), x)
    torch.testing.assert_close(ours_gradient, theirs_gradient)


def test_matrices_live_where_the_map_lives() -> None:
    assert adaptive_average_pool(torch.empty(1, 2, 9, 9, device="meta"), (2, 4)).is_meta
