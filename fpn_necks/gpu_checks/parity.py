"""The device against the processor: outputs, gradients and losses in float32."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config

from fpn_necks.costs.detector import MeasuredDetector

from .numeric import (
    at_most,
    compare,
    full_float32,
    gradient_error,
    output_error,
    place,
    run,
    twin,
)
from .outcomes import CheckFailed
from .settings import Scale
from .subjects import Subject

OUTPUT_LIMIT = 1e-4
GRADIENT_LIMIT = 1e-3
DENSE_LOSS_LIMIT = 1e-3
SAMPLED_LOSS_LIMIT = 5e-2


def check_module(subject: Subject, scale: Scale, device: torch.device) -> dict:
    """Compare a module on the device with the same in float64 on the processor.

    TF32 is off. The processor's own float32 is measured beside it: what a GPU may do
    worse than that is the order in which it adds.

    Raises:
        CheckFailed: an output is further off than ``OUTPUT_LIMIT`` of its largest
            value, or a gradient further than ``GRADIENT_LIMIT`` of its norm.
    """
    module, inputs = subject.build(scale), subject.inputs(scale)
    results = {}
    with full_float32():
        for name, where, dtype in (
            ("exact", torch.device("cpu"), torch.float64),
            ("processor", torch.device("cpu"), torch.float32),
            ("device", device, torch.float32),
        ):
            results[name] = run(twin(module, where, dtype), place(inputs, where, dtype))
    exact, found = results["exact"], results["device"]
    numbers: dict[str, Any] = dict(
        processor_output_error=output_error(results["processor"], exact),
        processor_gradient_error=gradient_error(results["processor"], exact)[0],
    )
    return compare(found, exact, OUTPUT_LIMIT, GRADIENT_LIMIT, numbers)


def check_losses(config: Config, scale: Scale, device: torch.device) -> dict:
    """Compare a detector's losses on the device with those on the processor.

    The detectors' samplers draw on the processor from the same seed, so that RoIs are
    equal, those aside whose scores differ by less than the rounding.

    Raises:
        CheckFailed: a loss is not finite or further off than ``DENSE_LOSS_LIMIT``, or
            ``SAMPLED_LOSS_LIMIT`` where RoIs are sampled.
    """
    found = {}
    with full_float32():
        for where in (torch.device("cpu"), device):
            detector = MeasuredDetector(config, scale.size, scale.batch, where, False)
            found[where] = losses_of(detector)
            sampled = getattr(
                detector.model, "with_roi_head", False
            ) or "RoIAuxiliary" in str(config.model.get("auxiliary", ""))
    expected, losses = found[torch.device("cpu")], found[device]
    limit = SAMPLED_LOSS_LIMIT if sampled else DENSE_LOSS_LIMIT
    return compare_losses(losses, expected, limit)


def losses_of(detector: MeasuredDetector) -> dict[str, float]:
    """Return a detector's losses of its batch, its samples drawn with its seed."""
    detector.model.train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(detector.seed)
        losses = detector.model(detector.inputs, detector.samples, mode="loss")
    _, values = detector.model.parse_losses(losses)
    return {name: float(value) for name, value in values.items() if "loss" in name}


def compare_losses(
    found: dict[str, float], expected: dict[str, float], limit: float
) -> dict[str, Any]:
    """Compare losses by name, as shares of their value or of 1 % of the total.

    Raises:
        CheckFailed: names differ, or a loss is further off than the limit, or NaN.
    """
    if set(found) != set(expected):
        raise CheckFailed(
            f"the losses are {sorted(found)} instead of {sorted(expected)}"
        )
    floor = 0.01 * abs(expected.get("loss", 0.0))
    errors = {
        name: abs(found[name] - value) / max(abs(value), floor, 1e-12)
        for name, value in expected.items()
    }
    # NaN is above everything here.
    worst = max(errors, key=lambda name: (errors[name] != errors[name], errors[name]))
    numbers = dict(loss_error=errors[worst], limit=limit, losses=found)
    at_most(f"the error of {worst}", errors[worst], limit, numbers)
    return numbers
