"""Means and deviations over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .training_time import PROCESSOR_SECONDS, WALL_SECONDS

Result = dict[str, Any]
NONE = "–"


@dataclass(frozen=True)
class Spread:
    """Some numbers, one per seed.

    Attributes:
        values: In the order of the seeds.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Their mean; None if there are none."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """Standard deviation of a sample; None for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self, factor: float = 1.0, digits: int = 1, sign: bool = False) -> str:
        """Return ``mean ± std``, the mean alone for one value, a dash for none."""
        if self.mean is None:
            return NONE
        plus = "+" if sign else ""
        mean = f"{self.mean * factor:{plus}.{digits}f}"
        if self.std is None:
            return mean
        return f"{mean} ± {self.std * factor:.{digits}f}"


def metric(results: Sequence[Result], name: str) -> Spread:
    """Return a metric over seeds; COCO's -1, for sizes that no object has, is none."""
    values = [result["metrics"].get(name) for result in results]
    return Spread(tuple(float(v) for v in values if v is not None and v >= 0))


def paired_difference(
    results: Sequence[Result], baseline: Sequence[Result], name: str
) -> Spread:
    """Return what a metric gains over the baseline's run of the same seed."""
    before = {result["seed"]: result["metrics"].get(name) for result in baseline}
    pairs = [
        (result["metrics"].get(name), before.get(result["seed"])) for result in results
    ]
    return Spread(
        tuple(
            float(ours) - float(theirs)
            for ours, theirs in pairs
            if ours is not None and theirs is not None and min(ours, theirs) >= 0
        )
    )


def training_minutes(results: Sequence[Result]) -> str:
    """Return how long a training took: processor time, or wall time on GPUs.

    Runs on other devices are averaged apart.
    """
    found: dict[str, list[float]] = {}
    for result in results:
        on_cpu = result["device"] == "cpu"
        kind = "processor" if on_cpu else result["device"]
        seconds = result["metrics"].get(PROCESSOR_SECONDS if on_cpu else WALL_SECONDS)
        if seconds is not None:
            found.setdefault(kind, []).append(seconds / 60)
    texts = [
        f"{Spread(tuple(minutes)).text()}{'' if kind == 'processor' else f' on {kind}'}"
        for kind, minutes in found.items()
    ]
    return ", ".join(texts) or NONE
