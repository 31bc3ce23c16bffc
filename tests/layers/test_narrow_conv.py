import pytest
import torch
from torch import nn

from fpn_necks.layers import NarrowConv


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 6)], ids=str)
@pytest.mark.parametrize(("channels", "bias"), [(1, True), (2, False), (3, True)])
def test_equals_the_plain_convolution(size, channels: int, bias: bool) -> None:
    torch.manual_seed(0)
    narrow = NarrowConv(5, channels, bias).double()
    plain = nn.Conv2d(5, channels, 3, padding=1, bias=bias).double()
    plain.load_state_dict(narrow.state_dict())
    x = torch.randn(2, 5, *size, dtype=torch.double, requires_grad=True)
    cotangent = torch.randn(2, channels, *size, dtype=torch.double)
    results = []
    for conv in (narrow, plain):
        y = conv(x)
        inputs = [x, *conv.parameters()]
        results.append([y, *torch.autograd.grad(y, inputs, cotangent)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_initialised_as_a_convolution() -> None:
    """``init_cfg`` finds it by the class ``Conv2d``."""
    assert isinstance(NarrowConv(4, 1), nn.Conv2d)
