import pytest
import torch
import torch.nn.functional as F

from fpn_necks.layers import adaptive_average_pool
from fpn_necks.layers.adaptive_pooling import _pooled_identity


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


def test_constants_are_made_once_and_fit_training_after_inference() -> None:
    x = torch.randn(1, 2, 7, 11)
    with torch.inference_mode():
        adaptive_average_pool(x, (3, 4))
    assert _pooled_identity(x, 7, 3) is _pooled_identity(x, 7, 3)
    assert _pooled_identity(x, 7, 3).dtype == torch.float32
    assert _pooled_identity(x.double(), 7, 3).dtype == torch.float64
    adaptive_average_pool(x.requires_grad_(), (3, 4)).sum().backward()
    assert x.grad.sum() == pytest.approx(2 * 3 * 4)
