from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fpn_necks.costs.stages import cut_by_stage, record_post_processing


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


@pytest.fixture
def detector() -> Detector:
    return Detector(SimpleNamespace(now=0))


def test_every_moment_belongs_to_a_stage(detector: Detector) -> None:
    with cut_by_stage(detector, lambda: detector.clock.now) as segments:
        assert detector() == [7]
    totals = segments.add_up(lambda start, end: end - start)
    assert totals == {
        "backbone": 1,
        "neck": 10,
        "head": 100 + 1000 + 100,  # with the proposals of the RPN
        "post-processing": 10_000,
    }
    assert sum(totals.values()) == detector.clock.now


@pytest.mark.parametrize("fail", [False, True])
def test_nothing_stays_behind(detector: Detector, fail: bool) -> None:
    def run() -> None:
        with cut_by_stage(detector, lambda: 0), record_post_processing(detector):
            detector(fail)

    if fail:
        with pytest.raises(RuntimeError, match="no boxes"):
            run()
    else:
        run()
    for module in detector.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
        assert "predict_by_feat" not in vars(module)


def test_calls_can_be_repeated(detector: Detector) -> None:
    with record_post_processing(detector) as calls:
        detector()
    ((repeat, result),) = calls
    assert result == [7]
    before = detector.clock.now
    assert repeat() == [7]
    assert detector.clock.now == before + 10_000


def test_of_nested_calls_the_outer_one_is_kept() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bbox_head = Head(SimpleNamespace(now=0), 1)

        def predict_by_feat(self) -> list[int]:
            return self.bbox_head.predict_by_feat(3) * 2

    detector = nn.Sequential(Outer())
    with record_post_processing(detector) as calls:
        detector[0].predict_by_feat()
    assert [result for _, result in calls] == [[3, 3]]
