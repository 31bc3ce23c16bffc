"""The study's recipe and budget, fixed before the first run.

Every neck chooses its learning rate from `RATES` by one short trial of each, tested on
training images that are set apart (``choose``); then it trains on the whole training
split with that rate and each of `SEEDS`. The curve over α has one rate, FPN's. Nothing
is chosen on the images that the results are measured on.

Budget: at most 57 runs and 28 trials, and two that look for a cause. On one core
of 2.4 GHz a run on TinyPerson costs about a quarter of an hour, a third of it its test,
one on BCCD seven minutes, a trial six: fifteen hours in all. The order is that of
`entries`; what time does not suffice for is reported as not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SEEDS = (0, 1, 2)
RATES = (5e-4, 1e-3)
STEPS = {"tinyperson": 300, "bccd": 200}
TRIAL_STEPS = {"tinyperson": 120, "bccd": 80}
WARM_UP = 50
BATCH_SIZE = 4
CHANNELS = 64
TILE = (320, 256)  # of training on TinyPerson: width, height
TILES = dict(size=(640, 512), overlap=(50, 50))  # of testing on TinyPerson
BACKBONE_CHANNELS = (24, 40, 112, 320)
STRIDES = (4, 8, 16, 32, 64)
ROIS_PER_IMAGE = 64  # of AugFPN's auxiliary losses, which take 512 as released

# How the images are prepared: their size (width, height), how many boxes an image may
# have, which split gives results, every n-th image of it, and how many images at most
# choose the rates. `test_size` is what the detector sees at a time, for which
# multiply-adds are counted.
PREPARATION: dict[str, dict[str, Any]] = {
    "tinyperson": dict(
        size=(1280, 720),
        most_boxes=200,
        test="val",
        test_every=3,
        choose=30,
        test_size=(640, 512),
    ),
    "bccd": dict(
        size=(320, 240),
        most_boxes=None,
        test="test",
        test_every=1,
        choose=30,
        test_size=(320, 256),
    ),
}

NECKS = {
    "fpn": "FPN",
    "pafpn": "PAFPN",
    "s-alpha-fpn": "S-α FPN",
    "cfg-fpn": "CFG-FPN, rank 32",
    "asff": "FPN + ASFF",
    "augfpn": "AugFPN",
    "drfpn": "DRFPN",
}
# Further runs, planned after ASFF's first: is it its norm that learns slowly? One seed,
# the rate that ASFF chose.
FURTHER = {
    "fpn-gn": "FPN, group norm behind each conv",
    "asff-no-norm": "FPN + ASFF without norms",
}
# Fig. 1 of the S-α paper; α = 1 is FPN, bit for bit.
CURVE = {
    "alpha-0": 0.0,
    "alpha-0.25": 0.25,
    "alpha-0.5": 0.5,
    "alpha-0.75": 0.75,
    "fpn": 1.0,
    "s-alpha-fpn": None,  # the released statistic
}
METRICS = {"tinyperson": "tiny_person/AP50_tiny", "bccd": "coco/bbox_mAP_50"}


@dataclass(frozen=True)
class Run:
    """A training with its test.

    Args:
        data: a key of `PREPARATION`.
        neck: a key of `NECKS`, `FURTHER` or `CURVE`.
        rate: the learning rate.
        seed: of the initialisation and the order of images.
        trial: train shortly and test on the images that choose the rate.
    """

    data: str
    neck: str
    rate: float
    seed: int = 0
    trial: bool = False

    @property
    def name(self) -> str:
        """Name of its files."""
        end = "trial" if self.trial else f"seed{self.seed}"
        return f"{self.data}_{self.neck}_{self.rate:g}_{end}"


@dataclass(frozen=True)
class Entry:
    """A run whose learning rate the trials of a neck, `chooser`, choose."""

    data: str
    neck: str
    seed: int
    chooser: str

    def trials(self) -> list[Run]:
        """Return the runs that choose the rate."""
        return [Run(self.data, self.chooser, rate, trial=True) for rate in RATES]

    def run(self, rate: float) -> Run:
        """Return the run with a rate."""
        return Run(self.data, self.neck, rate, self.seed)


def curve_entries(seed: int) -> list[Entry]:
    """Return the curve over α: one rate, so that α alone differs."""
    return [Entry("tinyperson", neck, seed, "fpn") for neck in CURVE]


def neck_entries(data: str, seed: int) -> list[Entry]:
    """Return the comparison of necks: each has its own rate."""
    return [Entry(data, neck, seed, neck) for neck in NECKS]


def further_entries() -> list[Entry]:
    """Return the runs that look for a cause."""
    return [Entry("tinyperson", neck, SEEDS[0], "asff") for neck in FURTHER]


def entries() -> list[Entry]:
    """Return all that is to be run, in order. Two entries may be one run."""
    tiny = [[*curve_entries(k), *neck_entries("tinyperson", k)] for k in SEEDS]
    blood = [neck_entries("bccd", k) for k in SEEDS]
    groups = [*tiny, *blood, further_entries()]
    return [entry for group in groups for entry in group]
