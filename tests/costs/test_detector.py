import copy
import time

import pytest
import torch
from mmengine.config import Config
from torch import nn

from fpn_necks.costs import count_multiply_adds, count_parameters, peak_memory
from fpn_necks.costs.batch import synthetic_batch
from fpn_necks.costs.detector import MeasuredDetector
from fpn_necks.costs.report import measure_detectors
from fpn_necks.costs.tables import Cost
from tests.costs.tiny import SIZE, tiny_config
from tests.shared_data import shared

RETINANET = "retinanet_r101_fpn_auxiliary-uncertainty_1x_coco"
FASTER_RCNN = "faster-rcnn_r101_fpn_auxiliary-uncertainty_1x_coco"
MASK_RCNN = "mask-rcnn_r50_augfpn_1x_coco"


@pytest.fixture(scope="module")
def retinanet() -> MeasuredDetector:
    return MeasuredDetector(tiny_config(RETINANET), SIZE, images=2)


@pytest.fixture(scope="module")
def plain_retinanet() -> MeasuredDetector:
    config = tiny_config(RETINANET, model__auxiliary=None)
    return MeasuredDetector(config, SIZE, images=2)


@pytest.fixture(scope="module")
def costs(retinanet: MeasuredDetector, plain_retinanet: MeasuredDetector) -> list[Cost]:
    detectors = [plain_retinanet, retinanet]
    return measure_detectors(detectors, ["plain", "auxiliary"], 2)


def state(detector: MeasuredDetector) -> dict[str, torch.Tensor]:
    weights = detector.model.state_dict()
    return {k: v.clone() for k, v in weights.items() if "auxiliary" not in k}


def test_parameters_are_those_of_the_parts(retinanet: MeasuredDetector) -> None:
    model, parameters = retinanet.model, retinanet.parameters()
    assert parameters["backbone"] == count_parameters(model.backbone)
    assert parameters["neck"] == count_parameters(model.neck)
    assert parameters["head"] == count_parameters(model.bbox_head)
    assert parameters["auxiliary losses"] == count_parameters(model.auxiliary) > 0
    assert sum(parameters.values()) == count_parameters(model)


def test_multiply_adds_are_those_of_the_parts(retinanet: MeasuredDetector) -> None:
    model, counted = retinanet.model, retinanet.multiply_adds()
    maps = model.backbone(retinanet.inputs)
    levels = model.neck(maps)
    assert counted == {
        "backbone": count_multiply_adds(model.backbone, retinanet.inputs),
        "neck": count_multiply_adds(model.neck, maps),
        "head": count_multiply_adds(model.bbox_head, levels),
        "post-processing": 0,
    }


def test_stages_take_the_time_of_the_whole(retinanet: MeasuredDetector) -> None:
    start = time.perf_counter()
    stages = retinanet.time_inference(time.perf_counter)
    whole = time.perf_counter() - start
    assert set(stages) == {"backbone", "neck", "head", "post-processing"}
    assert min(stages.values()) > 0
    assert 0.3 * whole < sum(stages.values()) < whole
    ticks = iter(range(1000))
    counted = retinanet.time_inference(lambda: float(next(ticks)))
    # Hooks before and behind each, and the head at the start, between and at the end.
    assert counted == dict(backbone=1, neck=1, head=4, **{"post-processing": 1})


def test_memory_of_stages_reaches_that_of_the_whole(
    retinanet: MeasuredDetector,
) -> None:
    stages = retinanet.inference_memory()
    assert set(stages) == set(retinanet.stages)
    assert max(stages.values()) == peak_memory(retinanet.infer)
    # Each stage holds at least the maps that it was handed.
    maps = retinanet.model.backbone(retinanet.inputs)
    # C2, which this neck does not take, is held as well.
    handed = sum(4 * x.numel() for x in maps)
    assert stages["neck"] > handed


def test_auxiliary_losses_cost_training_and_nothing_else(
    retinanet: MeasuredDetector, plain_retinanet: MeasuredDetector, costs: list[Cost]
) -> None:
    plain, auxiliary = costs
    assert auxiliary.multiply_adds == plain.multiply_adds
    for stage in retinanet.stages:
        assert auxiliary.memory[stage] == plain.memory[stage]
    found, alone = (d.infer()[0].pred_instances for d in (retinanet, plain_retinanet))
    assert torch.equal(found.scores, alone.scores)
    assert auxiliary.memory["training step"] > plain.memory["training step"]
    assert "auxiliary losses" in auxiliary.parameters
    assert "auxiliary losses" not in plain.parameters


def test_training_leaves_the_weights(retinanet: MeasuredDetector) -> None:
    before = state(retinanet)
    retinanet.train_step()
    assert retinanet.model.training
    for key, value in state(retinanet).items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, before[key]), key
    retinanet.infer()
    assert not retinanet.model.training


def test_training_really_computes_gradients() -> None:
    config = tiny_config(RETINANET)
    detector = MeasuredDetector(config, SIZE)
    gradients = {}
    step = detector.optim_wrapper.optimizer.step

    def recording_step() -> None:
        for name, parameter in detector.model.named_parameters():
            gradients[name] = parameter.grad is not None
        step()

    detector.optim_wrapper.optimizer.step = recording_step
    detector.train_step()
    trained = {k for k, p in detector.model.named_parameters() if p.requires_grad}
    assert {k for k, got in gradients.items() if got} == trained
    assert all(p.grad is None for p in detector.model.parameters())


@pytest.mark.parametrize("name", [FASTER_RCNN, MASK_RCNN])
def test_two_stages(name: str) -> None:
    detector = MeasuredDetector(tiny_config(name), SIZE, images=2)
    assert detector.let_boxes_through(10) is not None
    counted = detector.multiply_adds()
    dense = count_multiply_adds(
        detector.model.rpn_head, detector.model.extract_feat(detector.inputs)
    )
    assert counted["head"] > dense  # boxes, and masks, come on top
    detector.train_step()
    samples = detector.infer()
    assert 8 <= sum(len(s.pred_instances) for s in samples) / 2 <= 12
    assert ("masks" in samples[0].pred_instances) == (name == MASK_RCNN)


def test_a_detector_without_neck() -> None:
    config = tiny_config("faster-rcnn_r101-caffe-dc5_auxiliary_1x_coco")
    detector = MeasuredDetector(config, SIZE)
    assert detector.stages == ("backbone", "head", "post-processing")
    assert "neck" not in detector.parameters() | detector.multiply_adds()
    detector.train_step()


def test_configs_stay_and_weights_are_not_loaded() -> None:
    config = tiny_config(RETINANET)
    config.model.backbone.init_cfg = dict(type="Pretrained", checkpoint="none.pth")
    config.load_from = "none.pth"
    before = copy.deepcopy(config.to_dict())
    MeasuredDetector(config, SIZE)
    assert config.to_dict() == before


def test_equal_configs_have_equal_weights() -> None:
    detectors = [
        MeasuredDetector(tiny_config(RETINANET), SIZE, train=False) for _ in range(2)
    ]
    first, second = map(state, detectors)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert detectors[0].optim_wrapper is None


def test_statistic_factors_need_no_data() -> None:
    name = "retinanet_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson"
    detector = MeasuredDetector(tiny_config(name), SIZE, train=False)
    assert len(detector.infer()) == 1


def test_mixed_precision_and_accumulation_become_plain_steps() -> None:
    config = tiny_config(RETINANET)
    config.optim_wrapper.type = "AmpOptimWrapper"
    config.optim_wrapper.loss_scale = "dynamic"
    config.optim_wrapper.accumulative_counts = 4
    detector = MeasuredDetector(config, SIZE)
    assert type(detector.optim_wrapper).__name__ == "OptimWrapper"
    assert detector.optim_wrapper._accumulative_counts == 1
    detector.train_step()


def test_configs_without_detector_or_optimiser() -> None:
    with pytest.raises(ValueError, match="no model"):
        MeasuredDetector(Config(dict(train_cfg=dict())), SIZE)
    config = tiny_config(RETINANET)
    config.pop("optim_wrapper")
    with pytest.raises(ValueError, match="no optim_wrapper"):
        MeasuredDetector(config, SIZE)
    MeasuredDetector(config, SIZE, train=False)


def test_costs_of_each_beside_the_first(costs: list[Cost]) -> None:
    plain, ours = costs
    assert plain.times["whole"].ratios == [1, 1]
    stages = ("backbone", "neck", "head", "post-processing")
    assert all(len(ours.times[stage].other) == 2 for stage in stages)
    assert ours.times["training step"].base == plain.times["training step"].other
    parts = [n for part, n in ours.parameters.items() if part != "whole"]
    assert ours.parameters["whole"] == sum(parts)
    assert ours.memory["whole"] == max(ours.memory[stage] for stage in stages)


def test_gray_images() -> None:
    """Channels come from the detector, here one."""
    config = Config.fromfile(shared("cases/gray_detector/gray.py"))
    detector = MeasuredDetector(config, SIZE, train=False)
    assert detector.inputs.shape[1] == 1
    assert len(detector.infer()) == 1


def test_one_channel_trains() -> None:
    config = tiny_config(RETINANET, model__backbone__in_channels=1)
    config.model.data_preprocessor.update(mean=[1.0], std=[2.0], bgr_to_rgb=False)
    detector = MeasuredDetector(config, SIZE)
    assert detector.inputs.shape[1] == 1
    detector.train_step()


@pytest.mark.parametrize(("wanted", "about"), [(20, 20), (10_000, 90)])
def test_as_many_boxes_as_wanted(wanted: int, about: int) -> None:
    """At most 90 % of the 100 that the detector may return."""
    config = tiny_config("fcos_r50_cfg-fpn_gn-head_1x_coco")
    detector = MeasuredDetector(config, (128, 192), 2, train=False)
    threshold = detector.let_boxes_through(wanted)
    assert detector.model.bbox_head.test_cfg["score_thr"] == threshold
    assert detector.count_boxes() == pytest.approx(about, rel=0.09)


def test_a_detector_without_threshold_stays_as_it_is() -> None:
    config = tiny_config("sparse-rcnn_r50_cfg-fpn_1x_coco")
    detector = MeasuredDetector(config, SIZE, train=False)
    assert detector.let_boxes_through(20) is None and detector.count_boxes() is None
    with pytest.raises(ValueError, match="wanted must be at least 1, got 0"):
        detector.let_boxes_through(0)


def test_boxes_lie_in_the_image_and_have_many_sizes() -> None:
    batch = synthetic_batch((120, 200), 3, num_classes=5, objects=40)
    assert [x.shape for x in batch["inputs"]] == [(3, 120, 200)] * 3
    sides = []
    for sample in batch["data_samples"]:
        truth = sample.gt_instances
        assert truth.bboxes.shape == (40, 4) and "masks" not in truth
        x1, y1, x2, y2 = truth.bboxes.unbind(1)
        assert (x1 >= 0).all() and (y1 >= 0).all()
        assert (x2 <= 200).all() and (y2 <= 120).all()
        assert (x2 - x1 >= 1).all() and (y2 - y1 >= 1).all()
        assert set(truth.labels.tolist()) <= set(range(5))
        sides.append(x2 - x1)
    sides = torch.cat(sides)
    assert sides.max() > 5 * sides.min()
    again = synthetic_batch((120, 200), 3, num_classes=5, objects=40)
    for first, second in zip(batch["inputs"], again["inputs"], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(batch["inputs"][0], batch["inputs"][1])


def test_masks_fill_their_boxes() -> None:
    batch = synthetic_batch((64, 96), 1, num_classes=2, masks=True)
    truth = batch["data_samples"][0].gt_instances
    assert truth.masks.masks.shape == (8, 64, 96)
    for mask, box in zip(truth.masks.masks, truth.bboxes, strict=True):
        x1, y1, x2, y2 = box.tolist()
        rows, columns = mask.nonzero()
        assert columns.min() + 1 > x1 and columns.max() < x2
        assert rows.min() + 1 > y1 and rows.max() < y2
        area = (x2 - x1) * (y2 - y1)
        assert mask.sum() == pytest.approx(0.785 * area, rel=0.2, abs=4)  # pi / 4


@pytest.mark.parametrize("name", ["images", "num_classes", "objects"])
def test_numbers_below_one(name: str) -> None:
    arguments = dict(size=(32, 32), images=1, num_classes=1, objects=1) | {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        synthetic_batch(**arguments)


def test_a_model_without_backbone() -> None:
    class NoDetector(nn.Module):
        def init_weights(self) -> None: ...

    with pytest.raises(ValueError, match="NoDetector has no backbone"):
        MeasuredDetector(Config(dict(model=dict(type=NoDetector))), SIZE, train=False)
