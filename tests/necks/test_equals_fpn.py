"""With its idea switched off a neck is mmdet's FPN, bit for bit."""

from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

import fpn_necks  # noqa: F401
from tests.neck_cases import AUGFPN_PARTS, IN_CHANNELS, OUT_CHANNELS, backbone_maps

P3_P7 = dict(num_outs=5, start_level=1)
PYRAMIDS: dict[str, dict[str, Any]] = {
    "p2-p6": dict(num_outs=5),
    "retinanet": P3_P7 | dict(add_extra_convs="on_input"),
    "fcos": P3_P7 | dict(add_extra_convs="on_output", relu_before_extra_convs=True),
    "lateral": dict(
        num_outs=6, add_extra_convs="on_lateral", relu_before_extra_convs=True
    ),
    "inner": dict(num_outs=2, start_level=1, end_level=2),
    "norm": dict(
        num_outs=5,
        norm_cfg=dict(type="BN"),
        act_cfg=dict(type="ReLU"),
        no_norm_on_lateral=True,
        add_extra_convs="on_input",
    ),
    "bilinear": dict(num_outs=5, upsample_cfg=dict(mode="bilinear")),
}
S_ALPHA = dict(type="SAlphaFPN", fusion_factor=1.0)
AUGFPN = dict(type="AugFPN")
# Spatial blocks start at zero; nothing else of the neck is left.
DRFPN = dict(type="DRFPN", bottom_up="none", context="none")
CASES = [
    *((neck, name) for neck in (S_ALPHA, AUGFPN, DRFPN) for name in PYRAMIDS),
    (DRFPN | dict(top_down="plain"), "p2-p6"),
    *(
        (AUGFPN | dict(pooling=pooling, fusion=fusion), "p2-p6")
        for pooling, fusion in AUGFPN_PARTS
    ),
]


def build(type: str, **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    sizes = dict(in_channels=IN_CHANNELS, out_channels=OUT_CHANNELS)
    neck = MODELS.build(dict(type=type) | sizes | arguments)
    neck.init_weights()
    return neck


def maps(height: int = 48, width: int = 80) -> list[Tensor]:
    return [x.requires_grad_() for x in backbone_maps((height, width))]


def results(neck: nn.Module, names: list[str]) -> list[Tensor | None]:
    """Return outputs, and gradients of the maps and of these parameters."""
    inputs = maps(49, 67)
    outputs = neck(inputs)
    random = torch.Generator().manual_seed(5)
    weights = [torch.randn(o.shape, generator=random) for o in outputs]
    sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)).backward()
    parameters = [neck.get_parameter(name) for name in names]
    return [*outputs, *(x.grad for x in [*inputs, *parameters])]


def name_of(value: Any) -> str:
    return value if isinstance(value, str) else "-".join(map(str, value.values()))


@pytest.mark.parametrize(("neck", "name"), CASES, ids=name_of)
def test_equals_fpn(neck: dict[str, Any], name: str) -> None:
    """And its checkpoints load, with no more than the idea's own keys missing."""
    fpn, ours = build("FPN", **PYRAMIDS[name]), build(**neck, **PYRAMIDS[name])
    if neck == S_ALPHA:  # the same seed gives the same weights
        assert list(ours.state_dict()) == list(fpn.state_dict())
        assert all(
            torch.equal(x, fpn.state_dict()[k]) for k, x in ours.state_dict().items()
        )
    loaded = ours.load_state_dict(fpn.state_dict(), strict=False)
    own = ("residual_features.", "top_down_connections.")
    assert not loaded.unexpected_keys
    assert all(key.startswith(own) for key in loaded.missing_keys)
    for key, parameter in ours.named_parameters():
        if key.startswith("residual_features."):
            nn.init.zeros_(parameter)
    names = [key for key, _ in fpn.named_parameters()]
    pairs = zip(results(ours, names), results(fpn, names), strict=True)
    for i, (found, expected) in enumerate(pairs):
        # A map that FPN leaves out gets no gradient from either.
        assert (found is None) == (expected is None), i
        assert found is None or torch.equal(found, expected), i
