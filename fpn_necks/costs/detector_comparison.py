"""Several detectors measured in one run, each beside the first."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .detection_load import count_boxes
from .detector import MeasuredDetector
from .stages import STAGES
from .timing import PairedTimes, measure_in_turns

WHOLE = "whole"


@dataclass(frozen=True)
class DetectorCosts:
    """What a detector costs, beside the first one of the same run.

    Args:
        parameters: per stage, and of training only.
        multiply_adds: per stage of inference.
        inference_times: per stage of inference, and of the ``WHOLE``.
        inference_memory: bytes per stage of inference.
        boxes: found per image; ``None`` if nobody knows.
        training_times: of a step of training.
        training_memory: bytes of a step of training.
    """

    parameters: Mapping[str, int]
    multiply_adds: Mapping[str, int]
    inference_times: Mapping[str, PairedTimes]
    inference_memory: Mapping[str, int]
    boxes: float | None = None
    training_times: PairedTimes | None = None
    training_memory: int | None = None

    def to_json(self, images: int) -> dict[str, Any]:
        """Return the numbers as json can hold them.

        Args:
            images: per batch: times are also given per image, as frames per second.
        """
        inference = {
            stage: time_summary(times) for stage, times in self.inference_times.items()
        }
        whole = inference[WHOLE]
        whole["images_per_second"] = 1e3 * images / whole["milliseconds"]
        numbers: dict[str, Any] = dict(
            parameters=_with_whole(self.parameters, sum),
            multiply_adds=_with_whole(self.multiply_adds, sum),
            inference=inference,
            inference_peak_bytes=_with_whole(self.inference_memory, max),
            boxes_per_image=self.boxes,
        )
        if self.training_times is not None:
            numbers["train_step"] = time_summary(self.training_times)
            numbers["train_step_peak_bytes"] = self.training_memory
        return numbers


def compare_detectors(
    detectors: Sequence[MeasuredDetector],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    train: bool = True,
    progress: Callable[[str], None] = lambda step: None,
) -> list[DetectorCosts]:
    """Measure detectors in turns.

    Args:
        detectors: at least one; the first is what the others are compared with.
        rounds: how often each is timed. In each round all have their turn.
        clock: see ``compare_times``.
        train: measure steps of training as well.
        progress: is told what is measured next.
    """
    costs = []
    for detector, times in zip(
        detectors, _inference_times(detectors, rounds, clock, progress), strict=True
    ):
        progress("counts and memory of an inference")
        costs.append(
            DetectorCosts(
                detector.parameters(),
                detector.multiply_adds(),
                times,
                detector.inference_memory(),
                count_boxes(detector.model, detector.infer),
            )
        )
    # Behind all of inference: normalisation gathers statistics while it trains.
    return _with_training(detectors, costs, rounds, clock, progress) if train else costs


def _with_training(
    detectors: Sequence[MeasuredDetector],
    costs: Sequence[DetectorCosts],
    rounds: int,
    clock: Callable[[], float],
    progress: Callable[[str], None],
) -> list[DetectorCosts]:
    progress("times of training")
    for detector in detectors:
        detector.train_step()  # the first one makes the optimiser's state
    seconds = measure_in_turns(
        [lambda d=d: d.time_train_step(clock) for d in detectors], rounds
    )
    results = []
    for detector, own, cost in zip(detectors, seconds, costs, strict=True):
        progress("memory of a step of training")
        results.append(
            replace(
                cost,
                training_times=PairedTimes(tuple(seconds[0]), tuple(own)),
                training_memory=detector.training_memory(),
            )
        )
    return results


def _inference_times(
    detectors: Sequence[MeasuredDetector],
    rounds: int,
    clock: Callable[[], float],
    progress: Callable[[str], None],
) -> list[dict[str, PairedTimes]]:
    progress("times of inference")
    for detector in detectors:
        detector.infer()
    runs = measure_in_turns(
        [lambda d=d: d.time_inference(clock) for d in detectors], rounds
    )
    whole = [[sum(run.values()) for run in own] for own in runs]
    results = []
    for number, detector in enumerate(detectors):
        times = {}
        for stage in detector.stages:
            # What the first detector has not takes it no time.
            base = tuple(run.get(stage, 0.0) for run in runs[0])
            times[stage] = PairedTimes(base, tuple(run[stage] for run in runs[number]))
        times[WHOLE] = PairedTimes(tuple(whole[0]), tuple(whole[number]))
        results.append(times)
    return results


def time_summary(times: PairedTimes) -> dict[str, Any]:
    """Return the median, and the ratio to the base unless that took no time."""
    summary: dict[str, Any] = dict(
        milliseconds=1e3 * statistics.median(times.other), ratio=None
    )
    if min(times.base) > 0:
        summary["ratio"] = times.median_ratio
        summary["ratio_interval"] = list(times.interval)
    return summary


def _with_whole(
    stages: Mapping[str, int], combine: Callable[[Sequence[int]], int]
) -> dict[str, int]:
    order = [*(stage for stage in STAGES if stage in stages)]
    order += [stage for stage in stages if stage not in order]
    numbers = {stage: stages[stage] for stage in order}
    return {**numbers, WHOLE: combine(list(numbers.values()))}
