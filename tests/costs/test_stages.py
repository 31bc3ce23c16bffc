from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fpn_necks.costs.stages import split_by_stage


class Part(nn.Module):
    def __init__(self, clock: SimpleNamespace, seconds: int) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.clock.now += self.seconds
        return x


class Head(Part):
    def predict_by_feat(self, boxes: int, fail: bool = False) -> list[int]:
        self.clock.now += self.seconds
        if fail:
            raise RuntimeError("no boxes")
        return [boxes]


class Detector(nn.Module):
    """Every part takes another, known time."""

    def __init__(self, clock: SimpleNamespace) -> None:
        super().__init__()
        self.clock = clock
        self.backbone, self.neck = Part(clock, 1), Part(clock, 10)
        self.rpn_head, self.bbox_head = Head(clock, 100), Head(clock, 10_000)
        self.auxiliary = Head(clock, 100)

    def forward(self, fail: bool = False) -> list[int]:
        x = self.neck(self.backbone(torch.zeros(1)))
        self.rpn_head.predict_by_feat(len(x))
        self.clock.now += 1000
        boxes = self.bbox_head.predict_by_feat(7, fail)
        self.auxiliary.predict_by_feat(1)
        return boxes


@pytest.mark.parametrize("fail", [False, True])
def test_every_moment_belongs_to_a_stage(fail: bool) -> None:
    detector = Detector(SimpleNamespace(now=0))
    if fail:
        with pytest.raises(RuntimeError, match="no boxes"):
            with split_by_stage(detector, lambda: detector.clock.now):
                detector(fail)
    else:
        with split_by_stage(detector, lambda: detector.clock.now) as totals:
            assert detector() == [7]
        assert totals == {
            "backbone": 1,
            "neck": 10,
            "head": 100 + 1000 + 100,  # with the proposals of the RPN
            "post-processing": 10_000,
        }
    # Nothing stays behind.
    for module in detector.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
        assert "predict_by_feat" not in vars(module)
