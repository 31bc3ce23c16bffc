import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from fpn_necks.costs.detection_load import count_boxes, let_boxes_through


class Head(nn.Module):
    """Scores close to each other, as without training."""

    def __init__(self, test_cfg: dict | None, factor: float = 1.0) -> None:
        super().__init__()
        self.test_cfg, self.factor = test_cfg, factor
        self.scores = 0.01 + 1e-6 * torch.arange(5000, dtype=torch.float64)
        self.calls = 0

    def predict_by_feat(self) -> list[InstanceData]:
        self.calls += 1
        config = self.test_cfg or {}
        scores = self.scores[self.scores > config.get("score_thr", 0)]
        scores = scores.flip(0)[: config.get("max_per_img", 100)]
        return [InstanceData(scores=scores * self.factor)] * 2


class Detector(nn.Module):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__()
        self.bbox_head = Head(*args, **kwargs)

    def infer(self) -> list[InstanceData]:
        return self.bbox_head.predict_by_feat()


# FCOS multiplies scores that have passed the threshold.
@pytest.mark.parametrize("factor", [1.0, 0.4])
@pytest.mark.parametrize(("wanted", "about"), [(20, 20), (100, 90), (1000, 90)])
def test_as_many_boxes_as_wanted(factor: float, wanted: int, about: int) -> None:
    detector = Detector(dict(score_thr=0.05, max_per_img=100), factor)
    assert count_boxes(detector, detector.infer) == 0
    threshold = let_boxes_through(detector, detector.infer, wanted)
    assert detector.bbox_head.test_cfg["score_thr"] == threshold
    assert count_boxes(detector, detector.infer) == pytest.approx(about, rel=0.09)
    assert 0.01 < threshold < 0.015
    assert detector.bbox_head.calls < 40


def test_fewer_boxes_than_wanted() -> None:
    detector = Detector(dict(score_thr=0.05, max_per_img=10**9))
    assert let_boxes_through(detector, detector.infer, 10_000) == 0.0
    assert count_boxes(detector, detector.infer) == 5000


def test_a_detector_without_threshold_stays_as_it_is() -> None:
    detector = Detector(dict(max_per_img=7))
    assert let_boxes_through(detector, detector.infer, 20) is None
    assert detector.bbox_head.test_cfg == dict(max_per_img=7)
    assert count_boxes(detector, detector.infer) == 7


def test_a_detector_without_post_processing() -> None:
    detector = nn.Sequential()
    detector.test_cfg = dict(score_thr=0.5)
    assert let_boxes_through(detector, lambda: None, 20) is None
    assert detector.test_cfg["score_thr"] == 0.5
    assert count_boxes(detector, lambda: None) is None


def test_no_boxes_wanted() -> None:
    detector = Detector(dict(score_thr=0.05))
    with pytest.raises(ValueError, match="wanted must be at least 1, got 0"):
        let_boxes_through(detector, detector.infer, 0)
