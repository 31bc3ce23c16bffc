import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpn_necks.layers import DenseASPPContext, NonLocalContext, PyramidPooling
from tests.golden import golden

RELEASED_NAMES = {
    "reduceDim_conv.weight": "reduce.weight",
    "reduceDim_conv.bias": "reduce.bias",
    "bottleneck.weight": "bottleneck.weight",
    "bottleneck.bias": "bottleneck.bias",
    **{f"stages.{i}.1.weight": f"stages.{i}.weight" for i in range(4)},
}
EXACT = dict(atol=1e-10, rtol=1e-10)


def build(kind: type[nn.Module], in_channels: int = 16, **arguments) -> nn.Module:
    torch.manual_seed(0)
    return kind(in_channels, 3, **arguments).double()


def backbone_map(*size: int, channels: int = 16) -> Tensor:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels, *size, generator=random).double()
    return x.requires_grad_()


def test_pyramid_pooling_parity() -> None:
    case = golden("drfpn_ppm")
    module = PyramidPooling(12, 8)
    assert set(RELEASED_NAMES) == set(case.state)
    module.load_state_dict({RELEASED_NAMES[k]: v for k, v in case.state.items()})
    x = case.inputs["x"]
    outputs = {"y": module(x)}
    case.check_outputs(outputs)
    case.backward(outputs)
    found = {k: module.get_parameter(v).grad for k, v in RELEASED_NAMES.items()}
    case.check_gradients({**found, "in/x": x.grad})


def test_non_local_equals_its_formula() -> None:
    """Wang et al., Eq. 1 and 6: a softmax over all positions, and a residual."""
    module, x = build(NonLocalContext), backbone_map(5, 4)
    query, key, value = (
        torch.einsum("oc,nchw->nohw", conv.weight[:, :, 0, 0], x).flatten(2)
        for conv in (module.query, module.key, module.value)
    )  # (N, 2, 20)
    scores = torch.einsum("ncq,nck->nqk", query, key) / math.sqrt(2)
    gathered = torch.einsum("nqk,nck->ncq", scores.softmax(dim=2), value)
    context = x + module.expand(gathered.reshape(2, 2, 5, 4))
    expected = torch.relu(module.bottleneck(module.reduce(context)))
    torch.testing.assert_close(module(x), expected, **EXACT)


def test_dense_aspp_equals_its_formula() -> None:
    module, x = build(DenseASPPContext), backbone_map(9, 7)
    maps = [x]
    for layer, dilation in zip(module.layers, (3, 6, 12, 18, 24), strict=True):
        first, _, second = layer
        hidden = torch.relu(F.conv2d(torch.cat(maps, dim=1), first.weight, first.bias))
        maps.append(
            F.conv2d(
                hidden,
                second.weight,
                second.bias,
                padding=dilation,
                dilation=dilation,
            )
        )
    expected = module.reduce(torch.cat(maps[1:], dim=1))
    torch.testing.assert_close(module(x), expected, **EXACT)
