import copy

import pytest
import torch
from mmengine.config import Config
from torch import nn

from fpn_necks.costs import count_multiply_adds, count_parameters
from fpn_necks.costs.detector import MeasuredDetector
from tests.costs.tiny import SIZE, tiny_config

RETINANET = "retinanet_r101_fpn_auxiliary-uncertainty_1x_coco"
MASK_RCNN = "mask-rcnn_r50_augfpn_1x_coco"


@pytest.fixture(scope="module")
def retinanet() -> MeasuredDetector:
    return MeasuredDetector(tiny_config(RETINANET), SIZE, images=2)


def test_counts_are_those_of_the_parts(retinanet: MeasuredDetector) -> None:
    model, parameters = retinanet.model, retinanet.parameters()
    assert parameters["backbone"] == count_parameters(model.backbone)
    assert parameters["neck"] == count_parameters(model.neck)
    assert parameters["head"] == count_parameters(model.bbox_head)
    assert parameters["auxiliary losses"] == count_parameters(model.auxiliary) > 0
    assert sum(parameters.values()) == count_parameters(model)
    maps = model.backbone(retinanet.inputs)
    assert retinanet.multiply_adds() == {
        "backbone": count_multiply_adds(model.backbone, retinanet.inputs),
        "neck": count_multiply_adds(model.neck, maps),
        "head": count_multiply_adds(model.bbox_head, model.neck(maps)),
        "post-processing": 0,
    }


def test_stages_take_the_time_of_the_whole(retinanet: MeasuredDetector) -> None:
    ticks = iter(range(1000))
    counted = retinanet.time_inference(lambda: float(next(ticks)))
    # Hooks before and behind each, and the head at the start, between and at the end.
    assert counted == dict(backbone=1, neck=1, head=4, **{"post-processing": 1})


def test_training_computes_gradients_and_leaves_the_weights() -> None:
    detector = MeasuredDetector(tiny_config(RETINANET), SIZE)
    model, step = detector.model, detector.optim_wrapper.optimizer.step
    before = {name: p.clone() for name, p in model.named_parameters()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    gradients: set[str] = set()

    def recording_step() -> None:
        gradients.update(k for k, p in model.named_parameters() if p.grad is not None)
        step()

    detector.optim_wrapper.optimizer.step = recording_step
    detector.train_step()
    assert model.training and gradients == trained
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(p, before[k]) for k, p in model.named_parameters())
    detector.infer()
    assert not model.training


def test_two_stages() -> None:
    detector = MeasuredDetector(tiny_config(MASK_RCNN), SIZE, images=2)
    detector.let_boxes_through(10)
    counted = detector.multiply_adds()
    dense = count_multiply_adds(
        detector.model.rpn_head, detector.model.extract_feat(detector.inputs)
    )
    assert counted["head"] > dense  # boxes, and masks, come on top
    detector.train_step()
    samples = detector.infer()
    assert 8 <= sum(len(s.pred_instances) for s in samples) / 2 <= 12
    assert "masks" in samples[0].pred_instances


def test_a_detector_without_neck() -> None:
    config = tiny_config("faster-rcnn_r101-caffe-dc5_auxiliary_1x_coco")
    detector = MeasuredDetector(config, SIZE)
    assert list(detector.multiply_adds()) == ["backbone", "head", "post-processing"]
    assert "neck" not in detector.parameters()
    detector.train_step()


def test_configs_stay_weights_are_not_loaded_and_are_equal() -> None:
    config = tiny_config(RETINANET)
    config.model.backbone.init_cfg = dict(type="Pretrained", checkpoint="none.pth")
    config.load_from = "none.pth"
    before = copy.deepcopy(config.to_dict())
    first, second = (MeasuredDetector(config, SIZE, train=False) for _ in range(2))
    assert config.to_dict() == before and first.optim_wrapper is None
    weights = second.model.state_dict()
    assert all(torch.equal(x, weights[k]) for k, x in first.model.state_dict().items())


def test_statistic_factors_need_no_data() -> None:
    name = "retinanet_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson"
    detector = MeasuredDetector(tiny_config(name), SIZE, train=False)
    assert len(detector.infer()) == 1


def test_mixed_precision_and_accumulation_become_plain_steps() -> None:
    """Of images with one channel, as the detector wants them."""
    config = tiny_config(RETINANET, model__backbone__in_channels=1)
    config.model.data_preprocessor.update(mean=[1.0], std=[2.0], bgr_to_rgb=False)
    config.optim_wrapper.update(
        type="AmpOptimWrapper", loss_scale="dynamic", accumulative_counts=4
    )
    detector = MeasuredDetector(config, SIZE)
    assert type(detector.optim_wrapper).__name__ == "OptimWrapper"
    assert detector.optim_wrapper._accumulative_counts == 1
    assert detector.inputs.shape[1] == 1
    detector.train_step()


class NoDetector(nn.Module):
    def init_weights(self) -> None: ...


def test_configs_without_detector_or_optimiser() -> None:
    config = tiny_config(RETINANET)
    config.pop("optim_wrapper")
    for wrong, said in (
        (Config(dict(train_cfg=dict())), "no model"),
        (config, "no optim_wrapper"),
        (Config(dict(model=dict(type=NoDetector), optim_wrapper=dict(a=1))),
         "NoDetector has no backbone"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            MeasuredDetector(wrong, SIZE)


@pytest.mark.parametrize(("wanted", "most"), [(20, 20), (10_000, 100)])
def test_as_many_boxes_as_wanted(wanted: int, most: int) -> None:
    """At most the 100 that the detector may return."""
    config = tiny_config("fcos_r50_cfg-fpn_gn-head_1x_coco")
    detector = MeasuredDetector(config, (128, 192), 2, train=False)
    detector.let_boxes_through(wanted)
    found = sum(len(sample.pred_instances) for sample in detector.infer())
    assert found / 2 == pytest.approx(most, rel=0.09)
