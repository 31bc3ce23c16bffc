"""Steps of training under mixed precision, as mmengine does them."""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from fpn_necks.costs.detector import MeasuredDetector

from .outcomes import CheckFailed, Unsupported
from .precision import DTYPES
from .settings import Scale

LOWEST_SCALE = 128.0
"""Of the gradient scaler, which starts at 65536 and halves at each overflow."""
_LACKING = re.compile(r"not implemented for .?BFloat16|but found .*BFloat16")


def check_training(
    config: Config, scale: Scale, device: torch.device, precision: str
) -> dict[str, Any]:
    """Train a detector on random images with ``AmpOptimWrapper``.

    Weights are random; optimiser, decay and clipping are the config's, and its learning
    rate is scaled to the batch. On a processor, where mmengine has no mixed precision,
    autocast is used without a scaler, and bfloat16 only.

    mmcv has operators without bfloat16, which heads use: where one is met, backbone and
    neck run in it and the head in float32, without auxiliary losses.

    Args:
        config: of a whole run.
        scale: number of steps, batch and size.
        device: where it trains.
        precision: ``fp16`` or ``bf16``.

    Raises:
        CheckFailed: a loss or a weight is not finite, most weights did not change, or
            the scaler has come below ``LOWEST_SCALE``.
        Unsupported: there is no such precision on this device.
    """
    dtype = DTYPES[precision]
    if device.type == "cpu" and dtype == torch.float16:
        raise Unsupported("mmengine has no mixed precision in fp16 on a processor")
    try:
        detector, wrapper = _prepare(config, scale, device, precision)
        context = functools.partial(_autocast, wrapper, device, dtype)
        return train(detector, wrapper, scale.steps, context)
    except (NotImplementedError, RuntimeError) as error:
        if dtype != torch.bfloat16 or not _LACKING.search(str(error)):
            raise
        reason = " ".join(str(error).split())
    config = copy.deepcopy(config)
    if config.model.get("auxiliary"):
        config.model.auxiliary = None
    detector, wrapper = _prepare(config, scale, device, "fp32")
    with half_features(detector.model, device, dtype):
        numbers = train(detector, wrapper, scale.steps, nullcontext)
    return numbers | dict(in_half_precision="backbone and neck alone", reason=reason)


def _prepare(
    config: Config, scale: Scale, device: torch.device, precision: str
) -> tuple[MeasuredDetector, OptimWrapper]:
    detector = MeasuredDetector(config, scale.size, scale.batch, device, train=False)
    settings = optimiser(config, scale.batch, precision, device)
    return detector, build_optim_wrapper(detector.model, settings)


@contextmanager
def half_features(
    detector: nn.Module, device: torch.device, dtype: torch.dtype
) -> Iterator[None]:
    """Run backbone and neck under autocast, and hand over their maps in float32."""
    original = detector.extract_feat

    def extract(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, ...]:
        with torch.autocast(device.type, dtype):
            maps = original(*args, **kwargs)
        return tuple(x.float() for x in maps)

    # An attribute of this one object, in front of its class's method.
    object.__setattr__(detector, "extract_feat", extract)
    try:
        yield
    finally:
        object.__delattr__(detector, "extract_feat")


def optimiser(
    config: Config, batch: int, precision: str, device: torch.device
) -> dict[str, Any]:
    """Return the config's optimiser with mixed precision and a scaled learning rate."""
    settings = copy.deepcopy(dict(config.optim_wrapper))
    base = config.get("auto_scale_lr", {}).get("base_batch_size", 16)
    # A tenth, as a warm-up would have it: weights are random.
    settings["optimizer"]["lr"] *= 0.1 * batch / base
    for name in ("loss_scale", "dtype", "accumulative_counts", "type"):
        settings.pop(name, None)
    if device.type == "cpu" or precision == "fp32":
        return dict(settings, type="OptimWrapper")
    dtype = {"fp16": "float16", "bf16": "bfloat16"}[precision]
    settings.update(type="AmpOptimWrapper", dtype=dtype)
    # bfloat16 has float32's range: nothing to scale.
    settings["loss_scale"] = "dynamic" if precision == "fp16" else dict(enabled=False)
    return settings


def train(
    detector: MeasuredDetector,
    wrapper: OptimWrapper,
    steps: int,
    context: Callable[[], AbstractContextManager],
) -> dict[str, Any]:
    """Train, and check what ``check_training`` says.

    Args:
        detector: on its device.
        wrapper: of its parameters.
        steps: how many.
        context: returns what each forward pass happens in.

    Raises:
        CheckFailed: see ``check_training``.
    """
    model = detector.model.train()
    before = {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    totals: list[float] = []
    scaler = getattr(wrapper, "loss_scaler", None)
    numbers: dict[str, Any] = dict(steps=steps, losses=totals)
    for step in range(steps):
        with wrapper.optim_context(model), context():
            losses = model(detector.inputs, detector.samples, mode="loss")
            total, values = model.parse_losses(losses)
        found = {name: float(torch.as_tensor(v).detach()) for name, v in values.items()}
        wrong = [name for name, value in found.items() if not math.isfinite(value)]
        if wrong:
            raise CheckFailed(f"step {step}: {', '.join(wrong)} not finite", numbers)
        totals.append(found["loss"])
        wrapper.update_params(total)
    if scaler is not None and scaler.is_enabled():
        numbers["loss_scale"] = scaler.get_scale()
        if numbers["loss_scale"] < LOWEST_SCALE:
            raise CheckFailed(
                f"the gradient scaler has come down to {numbers['loss_scale']:g}",
                numbers,
            )
    _check_weights(model, before, numbers)
    return numbers


def _autocast(
    wrapper: OptimWrapper, device: torch.device, dtype: torch.dtype
) -> AbstractContextManager:
    # AmpOptimWrapper's own context is autocast already.
    if hasattr(wrapper, "loss_scaler"):
        return nullcontext()
    return torch.autocast(device.type, dtype)


def _check_weights(
    model: nn.Module, before: dict[str, torch.Tensor], numbers: dict[str, Any]
) -> None:
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise CheckFailed(f"{name} is not finite after the steps", numbers)
    same = [
        name
        for name, parameter in model.named_parameters()
        if name in before and torch.equal(before[name], parameter)
    ]
    numbers["unchanged_weights"] = len(same)
    if len(same) > len(before) // 2:
        raise CheckFailed(
            f"{len(same)} of {len(before)} weights did not change, {same[0]} first",
            numbers,
        )
