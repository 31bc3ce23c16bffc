"""Our necks in torchvision's detectors."""

from __future__ import annotations

import warnings

import pytest
import torch
from mmdet.models.necks import FPN
from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet

from fpn_necks.integrations import TorchvisionBackbone
from fpn_necks.necks import ASFF, CFGFPN, DRFPN, AugFPN, SAlphaFPN

WIDTHS = [64, 128, 256, 512]
P2 = dict(num_outs=5)
P3 = dict(num_outs=5, start_level=1, add_extra_convs="on_output")


def asff(levels: dict) -> nn.Module:
    norm = dict(norm_cfg=dict(type="GN", num_groups=16))
    return nn.Sequential(FPN(WIDTHS, 64, **levels), ASFF(64, 64, **norm))


NECKS = {
    "s-alpha": lambda levels: SAlphaFPN(WIDTHS, 64, fusion_factor=0.5, **levels),
    "cfg": lambda levels: CFGFPN(WIDTHS, 64, **levels),
    "asff": asff,
    "augfpn": lambda levels: AugFPN(WIDTHS, 64, **levels),
    "drfpn": lambda levels: DRFPN(WIDTHS, 64, **levels),
}
DETECTORS = {"retinanet": RetinaNet, "fcos": FCOS, "faster-rcnn": FasterRCNN}


@pytest.mark.parametrize(
    ("detector", "neck"),
    [
        *(("retinanet", neck) for neck in NECKS),
        ("fcos", "cfg"),
        ("faster-rcnn", "asff"),
    ],
)
def test_trains_a_step(detector: str, neck: str) -> None:
    torch.manual_seed(0)
    images = [torch.rand(3, 160, 200), torch.rand(3, 180, 160)]
    boxes = torch.tensor([[10.0, 10, 40, 50], [30, 40, 150, 140]])
    targets = [dict(boxes=boxes, labels=torch.ones(2, dtype=torch.int64))] * 2
    levels = P2 if detector == "faster-rcnn" else P3
    backbone = TorchvisionBackbone(resnet18(), NECKS[neck](levels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # quiet
        model = DETECTORS[detector](backbone, num_classes=2, min_size=160, max_size=224)
        losses = model.train()(images, targets)
        sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    with torch.no_grad():
        found = model.eval()(images)
    assert [boxes["boxes"].shape[1] for boxes in found] == [4, 4]


def test_maps_of_several_widths_are_refused() -> None:
    norm = dict(norm_cfg=dict(type="GN", num_groups=16))
    neck = nn.Sequential(FPN(WIDTHS, 64, **P2), ASFF(64, [16, 32, 64], **norm))
    with pytest.raises(
        ValueError, match=r"of one width, the neck gives \[16, 32, 64\]"
    ):
        TorchvisionBackbone(resnet18(), neck)
