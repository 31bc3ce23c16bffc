import copy
import time

import pytest
import torch
from mmengine.config import Config
from torch import nn

from fpn_necks.costs import count_multiply_adds, count_parameters, peak_memory
from fpn_necks.costs.detector import MeasuredDetector, random_batch
from fpn_necks.costs.report import measure_detectors
from fpn_necks.costs.tables import Cost
from tests.costs.tiny import SIZE, tiny_config

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


def test_costs_of_each_beside_the_first(costs: list[Cost]) -> None:
    plain, ours = costs
    assert plain.times["whole"].ratios == [1, 1]
    stages = ("backbone", "neck", "head", "post-processing")
    assert all(len(ours.times[stage].other) == 2 for stage in stages)
    assert ours.times["training step"].base == plain.times["training step"].other
    parts = [n for part, n in ours.parameters.items() if part != "whole"]
    assert ours.parameters["whole"] == sum(parts)
    assert ours.memory["whole"] == max(ours.memory[stage] for stage in stages)


@pytest.mark.parametrize(("wanted", "about"), [(20, 20), (10_000, 90)])
def test_as_many_boxes_as_wanted(wanted: int, about: int) -> None:
    """At most 90 % of the 100 that the detector may return."""
    config = tiny_config("fcos_r50_cfg-fpn_gn-head_1x_coco")
    detector = MeasuredDetector(config, (128, 192), 2, train=False)
    threshold = detector.let_boxes_through(wanted)
    assert detector.model.bbox_head.test_cfg["score_thr"] == threshold
    found = sum(len(sample.pred_instances) for sample in detector.infer())
    assert found / 2 == pytest.approx(about, rel=0.09)


def test_a_detector_without_threshold_stays_as_it_is() -> None:
    config = tiny_config("sparse-rcnn_r50_cfg-fpn_1x_coco")
    detector = MeasuredDetector(config, SIZE, train=False)
    assert detector.let_boxes_through(20) is None


def test_random_batches_fit_one_class() -> None:
    batch = random_batch((1, 64, 96), 2, num_classes=1, masks=True)
    assert [x.shape for x in batch["inputs"]] == [(1, 64, 96)] * 2
    for sample in batch["data_samples"]:
        truth = sample.gt_instances
        assert truth.bboxes.shape == (8, 4) and truth.masks.masks.shape == (8, 64, 96)
        assert not truth.labels.any() and len(sample.ignored_instances) == 0
