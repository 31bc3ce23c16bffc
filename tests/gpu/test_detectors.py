"""Whole detectors: losses as on the processor, and steps of mixed precision."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

import fpn_necks.necks
from fpn_necks.costs.detector import MeasuredDetector
from tests.gpu.devices import full_float32, on_devices
from tests.tiny_detectors import load_config, narrow_yolo, shrink, use_few_rois

SIZE = (128, 192)
# Shipped configs that train; every neck, extractor, auxiliary loss and head is in one.
CONFIGS = [
    "retinanet_r50_s-alpha-fpn_1x_coco",
    "fcos_r50_cfg-fpn_gn-head_1x_coco",
    "retinanet_r50_asff_1x_coco",
    "faster-rcnn_r50_augfpn_1x_coco",
    "faster-rcnn_r50_drfpn_3xb8-1x_coco",
    "fcos_r50_fpn_auxiliary-uncertainty_gn-head_1x_coco",
    "yolov3_d53_asff_4xb16-300e_coco",
]
ON_CPU = ["retinanet_r50_asff_1x_coco"]


def config_of(name: str) -> Config:
    config = load_config(name)
    return use_few_rois(narrow_yolo(config) if "yolo" in name else shrink(config))


def losses_of(detector: MeasuredDetector) -> dict[str, float]:
    """Return the losses of the detector's batch, its samples drawn with its seed."""
    detector.model.train()
    torch.manual_seed(detector.seed)
    with torch.no_grad():
        losses = detector.model(detector.inputs, detector.samples, mode="loss")
    _, values = detector.model.parse_losses(losses)
    return {key: float(value) for key, value in values.items() if "loss" in key}


def test_every_neck_is_in_a_config() -> None:
    necks = set()
    for name in CONFIGS:
        neck = load_config(name).model.get("neck")
        necks |= {n.type for n in (neck if isinstance(neck, list) else [neck])}
    assert set(fpn_necks.necks.__all__) - {"PyramidNeck"} <= necks


@on_devices(CONFIGS, ON_CPU)
def test_losses_are_those_of_the_processor(device: str, case: str) -> None:
    config = config_of(case)
    with full_float32():
        found, expected = (
            losses_of(MeasuredDetector(config, SIZE, 2, where, train=False))
            for where in (device, "cpu")
        )
    assert found.keys() == expected.keys() and expected["loss"] > 0
    # Where RoIs are sampled, nearly equal scores change places.
    limit = 5e-2 if "faster-rcnn" in case else 1e-3
    for key, value in expected.items():
        largest = max(abs(value), 0.01 * expected["loss"])
        assert abs(found[key] - value) <= limit * largest, key


@on_devices(CONFIGS, ON_CPU)
def test_inference(device: str, case: str) -> None:
    detector = MeasuredDetector(config_of(case), SIZE, 2, device, train=False)
    boxes = detector.infer()[0].pred_instances.bboxes
    assert boxes.device.type == device and boxes.isfinite().all()


# mmcv 2.1 lacks some operators in bfloat16 on GPUs: RoIAlign and the focal loss.
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@on_devices(CONFIGS, ON_CPU)
def test_training_steps_in_mixed_precision(
    device: str, case: str, precision: str
) -> None:
    """Losses and weights are finite and change; float16 with the gradient scaler."""
    if device == "cpu" and precision == "float16":
        pytest.skip("mmengine has no mixed precision in float16 on a processor")
    config = config_of(case)
    detector = MeasuredDetector(config, SIZE, 2, device, train=False)
    settings = dict(config.optim_wrapper, type="AmpOptimWrapper", dtype=precision)
    settings["loss_scale"] = "dynamic" if precision == "float16" else 1.0
    if device == "cpu":
        settings = dict(type="OptimWrapper", optimizer=config.optim_wrapper.optimizer)
    # Weights are random: a tenth of the rate of a whole batch, as a warm-up has it.
    settings["optimizer"] = dict(settings["optimizer"], lr=1e-4)
    wrapper = build_optim_wrapper(detector.model, settings)
    model = detector.model.train()
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    for _ in range(3):
        context = torch.autocast(device, getattr(torch, precision))
        try:
            with wrapper.optim_context(model), context:
                losses = model(detector.inputs, detector.samples, mode="loss")
                total, values = model.parse_losses(losses)
            wrapper.update_params(total)
        except (NotImplementedError, RuntimeError) as error:
            if precision == "bfloat16" and "BFloat16" in str(error):
                pytest.skip(f"mmcv lacks an operator: {error}")
            raise
        assert all(math.isfinite(float(value)) for value in values.values()), values
    if precision == "float16":
        assert wrapper.loss_scaler.get_scale() >= 128
    trained = [key for key, p in model.named_parameters() if p.requires_grad]
    changed = [
        key for key, p in model.named_parameters() if not torch.equal(p, before[key])
    ]
    assert len(changed) > len(trained) / 2
    assert all(p.isfinite().all() for p in model.parameters())
