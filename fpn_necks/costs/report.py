"""Benchmarks: necks beside mmdet's FPN, whole detectors beside the first, as tables."""

from __future__ import annotations

import functools
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import Tensor, nn

from ..config_tools import load_detector_config
from .count import count_multiply_adds, count_parameters
from .detector import MeasuredDetector
from .tables import WHOLE, Cost
from .timing import PairedTimes, measure_in_turns, peak_memory, seconds_of

TRAINING = "training step"
CHANNELS = [256, 512, 1024, 2048]  # of ResNet-50
BASE = "FPN (mmdet)"
# What follows a neck in a list refines its maps.
NECKS: dict[str, list[dict[str, Any]]] = {
    BASE: [dict(type="FPN")],
    "PAFPN (mmdet)": [dict(type="PAFPN")],
    "S-α FPN": [dict(type="SAlphaFPN", fusion_factor=0.5)],
    "CFG-FPN, 1 stage": [dict(type="CFGFPN", cascade_times=1)],
    "CFG-FPN, 1 stage, rank 32": [dict(type="CFGFPN", cascade_times=1, rank=32)],
    "CFG-FPN, 3 stages (default)": [dict(type="CFGFPN")],
    "CFG-FPN, 3 stages, rank 32": [dict(type="CFGFPN", rank=32)],
    "FPN + ASFF": [dict(type="FPN"), dict(type="ASFF")],
    "AugFPN": [dict(type="AugFPN")],
    "DRFPN": [dict(type="DRFPN")],
}


def benchmark(
    configs: Sequence[str] = (),
    size: tuple[int, int] = (800, 1344),
    batch: int = 1,
    device: str = "cpu",
    pairs: int = 15,
    boxes: int = 80,
    train: bool = True,
    necks: Sequence[str] | None = None,
) -> tuple[str, list[Cost]]:
    """Measure necks beside mmdet's FPN, or whole detectors beside the first, in turns.

    Weights and images are random: no data set and no download is needed. What is being
    measured is said on standard error.

    Args:
        configs: As of ``read_config_argument``; none: the necks of ``NECKS``.
        size: (height, width) of the images in pixels.
        batch: Images per batch.
        device: ``cpu`` or ``cuda``.
        pairs: Runs per ratio.
        boxes: See ``let_boxes_through``; 0: the config's own threshold.
        train: Measure a training step of detectors as well.
        necks: Only necks whose name has one of these words.

    Returns:
        How it was measured, in words, and the costs.

    Raises:
        LookupError: There is no such config.
        ValueError: A config cannot be read, built or measured, or no neck's name has a
            word.
    """
    register_all_modules(init_default_scope=True)
    where = device
    if torch.device(device).type == "cuda":
        where = torch.cuda.get_device_name(device)
    elif torch.get_num_threads() == 1:
        where = "one processor thread, processor time"
    setting = (
        f"torch {torch.__version__}, {size[0]}x{size[1]}, batch {batch}, {where}, "
        f"random weights and images; medians of {pairs} runs of each in turns, x: "
        "ratio to the first, in brackets its 95 % interval"
    )
    if not configs:
        maps = [
            torch.randn(batch, c, *(-(-side // 2 ** (2 + i)) for side in size))
            for i, c in enumerate(CHANNELS)
        ]
        maps = [x.to(device).requires_grad_() for x in maps]
        return setting, list(_measure_necks(maps, necks, pairs))
    detectors, titles = [], []
    for text in configs:
        title, config = read_config_argument(text)
        _say(f"building {title}")
        try:
            detector = MeasuredDetector(config, size, batch, device, train)
            if train:
                detector.train_step()
            if boxes:
                detector.let_boxes_through(boxes)
        # A detector is a program, and can fail in any way.
        except Exception as error:
            raise ValueError(
                f"the detector of {title} cannot be measured: "
                f"{type(error).__name__}: {error}"
            ) from error
        detectors.append(detector)
        titles.append(title)
    return setting, measure_detectors(detectors, titles, pairs, train)


def read_config_argument(text: str) -> tuple[str, Config]:
    """Read the config that ``CONFIG@key=value,key=value`` names, with its changes.

    Args:
        text: A path, the name of a shipped config or ``mmdet::folder/name``; values are
            written as for ``--cfg-options``.

    Returns:
        A short title, and the config.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: It cannot be read, or a change is no ``key=value`` or does not fit.
    """
    name, _, changes = text.partition("@")
    if Path(text).is_file():  # a file may have the sign in its name
        name, changes = text, ""
    options = re.split(r",(?=[\w.]+=)", changes) if changes else []
    stem = name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py")
    title = ", ".join([stem, *(x.removeprefix("model.") for x in options)])
    return title, load_detector_config(name, options)


def build_neck(stages: Sequence[Mapping[str, Any]]) -> nn.Module:
    """Build a neck of these stages on a ResNet-50's maps, for evaluation.

    Its levels and width are those of mmdet's Faster R-CNN.
    """
    first = dict(in_channels=CHANNELS, out_channels=256, num_outs=5)
    later = dict(in_channels=256, out_channels=256)
    built = [
        MODELS.build({**(later if index else first), **stage})
        for index, stage in enumerate(stages)
    ]
    return nn.Sequential(*built).eval()


def _measure_necks(
    maps: list[Tensor],
    words: Sequence[str] | None,
    pairs: int,
) -> Iterator[Cost]:
    for word in words or ():
        if not any(word in name for name in NECKS):
            raise ValueError(f"no neck's name has {word!r}: {'; '.join(NECKS)}")
    base = build_neck(NECKS[BASE]).to(maps[0].device)
    for name, stages in NECKS.items():
        if name != BASE and words and not any(word in name for word in words):
            continue
        _say(f"measuring {name}")
        neck = build_neck(stages).to(maps[0].device)
        yield _measure_neck(name, base, neck, maps, pairs)


def _measure_neck(
    title: str, base: nn.Module, neck: nn.Module, maps: list[Tensor], pairs: int
) -> Cost:
    def forward(neck: nn.Module) -> list[Tensor]:
        with torch.no_grad():
            return neck(maps)

    # Maps of their own, as a head gives them: those of a sum would be a single number.
    gradients = [torch.randn_like(x) for x in forward(base)]

    def both(neck: nn.Module) -> None:
        torch.autograd.backward(neck(maps), gradients)
        # At the end: what the next run frees would count as memory that it gave back.
        neck.zero_grad(set_to_none=True)
        for x in maps:
            x.grad = None

    device = maps[0].device
    clock, times = _clock(device), {}
    for name, run in (("forward", forward), ("forward + backward", both)):
        runs = [functools.partial(run, module) for module in (base, neck)]
        for first in runs:
            first()  # is not counted
        turns = [functools.partial(seconds_of, x, device, clock) for x in runs]
        times[name] = PairedTimes(*map(tuple, measure_in_turns(turns, pairs)))
    return Cost(
        title,
        {WHOLE: count_parameters(neck)},
        {WHOLE: count_multiply_adds(neck, maps)},
        times,
        {"forward + backward": peak_memory(lambda: both(neck), device)},
    )


def _clock(device: torch.device) -> Callable[[], float]:
    # What other processes take is left out where that can be told apart.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def measure_detectors(
    detectors: Sequence[MeasuredDetector],
    titles: Sequence[str],
    rounds: int,
    train: bool = True,
) -> list[Cost]:
    """Measure detectors, each timed `rounds` times in turns, beside the first."""
    device = detectors[0].device
    clock = _clock(device)
    _say("times of inference")
    for detector in detectors:
        detector.infer()
    inference = [lambda d=d: d.time_inference(clock) for d in detectors]
    runs = measure_in_turns(inference, rounds)
    for run in (run for own in runs for run in own):
        run[WHOLE] = sum(run.values())
    _say("counts and memory of inference")
    counts = [(d.parameters(), d.multiply_adds()) for d in detectors]
    memory = [{WHOLE: peak_memory(d.infer, device)} for d in detectors]
    # What the first detector has not takes it no time.
    times = [
        {
            stage: PairedTimes(
                tuple(run.get(stage, 0.0) for run in runs[0]),
                tuple(run[stage] for run in own),
            )
            for stage in own[0]
        }
        for own in runs
    ]
    if train:  # behind all of inference: normalisation gathers statistics meanwhile
        _say("times and memory of training")
        for detector, peaks in zip(detectors, memory, strict=True):
            # Its first run makes the optimiser's state.
            peaks[TRAINING] = peak_memory(detector.train_step, device)
        training = [
            lambda d=d: seconds_of(d.train_step, device, clock) for d in detectors
        ]
        steps = measure_in_turns(training, rounds)
        for own, seconds in zip(times, steps, strict=True):
            own[TRAINING] = PairedTimes(tuple(steps[0]), tuple(seconds))
    return [
        Cost(title, *({**c, WHOLE: sum(c.values())} for c in counted), own, peaks)
        for title, counted, own, peaks in zip(
            titles, counts, times, memory, strict=True
        )
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
