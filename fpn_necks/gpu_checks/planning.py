"""Which checks there are, and in which order: right numbers first, then costs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpn_necks.costs.neck_comparison import NECKS

from . import (
    compilation,
    detector_costs,
    environment,
    golden,
    gradients,
    neck_costs,
    parity,
    precision,
    training,
)
from .settings import Settings
from .subjects import DETECTORS, MODULES, detector_config

CHECKS: dict[str, str] = {
    "environment": "torch's and mmcv's operators run on the device and are right",
    "parity": "outputs, gradients and losses equal those of the processor, in float32",
    "golden": "outputs and gradients equal those of the authors' released code",
    "gradients": "every parameter gets a finite gradient that is not zero",
    "gradcheck": "gradients in float64 equal differences",
    "precision": "outputs under autocast are near float32; gradients are finite",
    "training": "steps of training with AmpOptimWrapper stay finite",
    "channels-last": "outputs do not depend on the layout in memory",
    "compile": "torch.compile gives the same, in whole graphs, for two sizes",
    "neck-costs": "times and memory of necks, in each precision",
    "detector-costs": "times and memory of whole detectors beside FPN",
}
"""In the order in which they run."""

SHARES: dict[str, float] = {
    "parity": 0.25,
    "training": 0.25,
    "compile": 0.2,
    "neck-costs": 0.3,
    "detector-costs": 0.35,
}
"""Part of the time after which the rest of a check waits until all others are done."""


@dataclass(frozen=True)
class Unit:
    """One check of one subject.

    Args:
        check: one of ``CHECKS``.
        subject: what is checked.
        run: does it; returns what it measured.
    """

    check: str
    subject: str
    run: Callable[[], dict[str, Any]]

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others."""
        return self.check, self.subject


def plan(settings: Settings) -> list[Unit]:
    """Return all checks that the settings want, in order.

    Args:
        settings: of the run.

    Raises:
        ValueError: a word of ``settings.only`` is no check and in no subject, or the
            folder of golden numbers has none.
    """
    device, scale = settings.torch_device, settings.scale
    units = list(_correctness(settings))
    # All necks in one precision before the next: a table is whole or absent.
    for name in neck_costs.modes_of(device):
        mode = neck_costs.MODES[name]
        units += [
            _unit(
                "neck-costs", f"{title} [{name}]",
                neck_costs.measure_in_mode, title, mode, scale, device,
            )
            for title in NECKS
        ]  # fmt: skip
    # The same method in all detectors before the next.
    titles = {d: list(t)[1:] for d, t in detector_costs.COMPARED.items()}
    for place in range(max(map(len, titles.values()))):
        for detector, names in titles.items():
            if place < len(names):
                units.append(
                    _unit(
                        "detector-costs", f"{detector}, {names[place]}",
                        detector_costs.measure_detector,
                        detector, names[place], scale, device,
                    )
                )  # fmt: skip
    for word in settings.only:
        if not any(_wanted(unit, word) for unit in units):
            raise ValueError(
                f"--only {word} is no check ({', '.join(CHECKS)}) and in no subject"
            )
    return [
        unit
        for unit in units
        if not settings.only or any(_wanted(unit, word) for word in settings.only)
    ]


def _wanted(unit: Unit, word: str) -> bool:
    if word in CHECKS:
        return unit.check == word
    return word.lower() in unit.subject.lower()


def _unit(check: str, subject: str, run: Callable[..., Any], *arguments: Any) -> Unit:
    return Unit(check, subject, functools.partial(run, *arguments))


def _correctness(settings: Settings) -> Iterator[Unit]:
    device, scale = settings.torch_device, settings.scale
    yield _unit("environment", "the device", environment.check_device, device)
    for name in environment.OPERATIONS:
        yield _unit("environment", name, environment.check_operation, name, device)
    for subject in MODULES:
        yield _unit("parity", subject.name, parity.check_module, subject, scale, device)
    for title, name in DETECTORS.items():
        yield _unit("parity", f"losses: {title}", _check_losses, name, settings)
    yield from _golden(settings)
    for subject in MODULES:
        yield _unit(
            "gradients",
            subject.name,
            gradients.check_parameters,
            subject,
            scale,
            device,
        )
    for subject in MODULES:
        yield _unit(
            "gradcheck", subject.name, gradients.check_differences, subject, device
        )
    for name, dtype in precision.DTYPES.items():
        for subject in MODULES:
            yield _unit(
                "precision", f"{subject.name} [{name}]",
                precision.check_autocast, subject, scale, device, dtype,
            )  # fmt: skip
    for name in precision.DTYPES:
        for title, config in DETECTORS.items():
            yield _unit(
                "training", f"{title} [{name}]", _check_training, config, settings, name
            )
    for subject in MODULES:
        yield _unit(
            "channels-last", subject.name,
            precision.check_channels_last, subject, scale, device,
        )  # fmt: skip
    # The compiler is slow: one of each type first.
    for is_main in (True, False):
        for subject in MODULES:
            if subject.compiles and subject.is_main == is_main:
                yield _unit(
                    "compile", subject.name,
                    compilation.check_compiled, subject, scale, device,
                )  # fmt: skip


def _golden(settings: Settings) -> Iterator[Unit]:
    if settings.golden is None:
        return
    files = golden.list_files(Path(settings.golden))
    if not files:
        raise ValueError(f"{settings.golden} has no golden numbers (*.npz)")
    for path in files:
        yield _unit("golden", path.stem, golden.check_file, path, settings.torch_device)


def _check_losses(name: str, settings: Settings) -> dict[str, Any]:
    scale = settings.scale
    return parity.check_losses(
        detector_config(name, scale), scale, settings.torch_device
    )


def _check_training(name: str, settings: Settings, precision: str) -> dict[str, Any]:
    scale = settings.scale
    return training.check_training(
        detector_config(name, scale), scale, settings.torch_device, precision
    )
