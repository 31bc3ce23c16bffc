"""What the papers say of the cost of their methods, in whole detectors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fpn_necks.necks import CFGFPN

INFERENCE, TRAINING = "inference", "training"
AUXILIARY_LOSSES = "auxiliary losses"


@dataclass(frozen=True)
class Claim:
    """A cost in a paper.

    Args:
        method: ``AugFPN``, ``DRFPN``, ``ASFF``, ``CFGFPN`` or ``AUXILIARY_LOSSES``.
        step: ``INFERENCE`` or ``TRAINING``.
        base: of the detector without the method.
        other: of the detector with it.
        unit: of both; a rate where it is ``fps``, else a duration.
        conditions: what was measured, and on what.
        source: where the paper says it.
        two_stage: only of detectors with (without) an RPN; ``None``: of any.
        stages: CFG-FPN's cascade times.
        with_auxiliary: in training, the method had its auxiliary losses.
    """

    method: str
    step: str
    base: float
    other: float
    unit: str
    conditions: str
    source: str
    two_stage: bool | None = None
    stages: int | None = None
    with_auxiliary: bool = False

    @property
    def ratio(self) -> float:
        """Time with the method / time without it."""
        if self.unit == "fps":
            return self.base / self.other
        return self.other / self.base

    @property
    def text(self) -> str:
        """The paper's numbers."""
        return f"{self.base:g} → {self.other:g} {self.unit}"


_AUGFPN = "AugFPN, Sec. 4.5"
_DRFPN = "DRFPN, end of Sec. 4"
_LOOK = "You Should Look at All Objects, Table"
_DEFAULT_STAGES = inspect.signature(CFGFPN).parameters["cascade_times"].default
_FASTER = "Faster R-CNN R-101, Titan Xp"
_RETINANET = "RetinaNet R-101, Titan Xp"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        *("AugFPN", INFERENCE, 13.4, 11.1, "fps"),
        "Faster R-CNN R-50, shorter side 800, with data loading, V100",
        _AUGFPN,
    ),
    Claim(
        *("AugFPN", TRAINING, 0.9, 1.1, "h per epoch"),
        "Faster R-CNN R-50, batch 16, V100; with its auxiliary losses",
        _AUGFPN,
        with_auxiliary=True,
    ),
    Claim(
        *("DRFPN", INFERENCE, 12.2, 12.4, "ms"),
        "R-50, shorter side 800, RTX Titan",
        _DRFPN,
    ),
    Claim(
        *("DRFPN", TRAINING, 1.14, 1.37, "s per iteration"),
        "Faster R-CNN R-50",
        _DRFPN,
    ),
    Claim(
        *("ASFF", INFERENCE, 50, 46, "fps"),
        "YOLOv3 at 608x608, V100",
        "ASFF, Table 3",
    ),
    *(
        Claim(
            *("CFGFPN", INFERENCE, base, other, "fps"),
            detector,
            f"{_LOOK} 2",
            two_stage=detector == _FASTER,
            stages=stages,
        )
        for detector, base, rates in (
            (_FASTER, 15.6, (12.0, 11.4, 10.9)),
            (_RETINANET, 15.0, (12.2, 11.7, 11.1)),
        )
        for stages, other in enumerate(rates, 1)
    ),
    *(
        Claim(
            *(AUXILIARY_LOSSES, INFERENCE, rate, rate, "fps"),
            detector,
            f"{_LOOK} 1",
            two_stage=detector == _FASTER,
        )
        for detector, rate in ((_FASTER, 15.6), (_RETINANET, 15.0))
    ),
)


def methods_of(model: Mapping[str, Any]) -> dict[str, int | None]:
    """Name the methods of this library in a detector's config, of those with claims.

    Returns:
        Method -> CFG-FPN's stages, or ``None``.
    """
    neck = model.get("neck") or []
    stages = neck if isinstance(neck, Sequence) else [neck]
    found: dict[str, int | None] = {}
    for stage in stages:
        kind = stage["type"]
        kind = kind if isinstance(kind, str) else kind.__name__
        if kind == "CFGFPN":
            found[kind] = stage.get("cascade_times", _DEFAULT_STAGES)
        elif kind in ("AugFPN", "DRFPN", "ASFF"):
            found[kind] = None
    if model.get("auxiliary"):
        found[AUXILIARY_LOSSES] = None
    return found


def claims_of(model: Mapping[str, Any], base: Mapping[str, Any]) -> Iterator[Claim]:
    """Go through the claims on what a detector has and the one before it has not.

    Args:
        model: config of the detector.
        base: config of the detector that it is compared with.
    """
    known = methods_of(base)
    added = {
        method: stages
        for method, stages in methods_of(model).items()
        if known.get(method, "none") != stages
    }
    necks = set(added) - {AUXILIARY_LOSSES}
    two_stage = model.get("rpn_head") is not None
    for claim in CLAIMS:
        # Of two changes at once no paper says anything. Auxiliary losses cost
        # nothing in inference, so that they may come with a neck there.
        if claim.method not in added or necks - {claim.method}:
            continue
        if claim.step == TRAINING:
            if claim.with_auxiliary != (AUXILIARY_LOSSES in added):
                continue
        if claim.two_stage not in (None, two_stage):
            continue
        if claim.stages in (None, added[claim.method]):
            yield claim
