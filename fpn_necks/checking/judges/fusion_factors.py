"""Is there one fusion factor per top-down connection, and are statistics counted?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fpn_necks.layers import StatisticFusionFactor

from ..advice import levels_for_readers
from ..config_keys import value_at, walk
from ..detectors import Detector
from ..findings import Finding
from ..measuring import build

_LISTS = ("fusion_factor", "fusion_factor.factor", "fusion_factor.init")
_HOOK = "FusionFactorHook"


def judge_fusion_factors(detector: Detector) -> list[Finding]:
    """Judge the ``fusion_factor`` of each stage of the neck."""
    findings: list[Finding] = []
    for key in detector.neck_keys:
        if "fusion_factor" in value_at(detector.config, key):
            findings += _length(detector, key)
    return findings + _counting(detector)


def _length(detector: Detector, key: str) -> list[Finding]:
    if detector.failed_key != "model.neck":
        return []
    stage = value_at(detector.config, key)
    found = next(
        (name for name in _LISTS if isinstance(value_at(stage, name), Sequence)), None
    )
    values = value_at(stage, found) if found else None
    if values is None or isinstance(values, str):
        return []
    plain = {**stage, "fusion_factor": 1.0}
    try:
        connections = build(plain).levels.num_used - 1
    except Exception:  # something else is wrong with it, which others judge
        return []
    if len(values) == connections or levels_for_readers(detector):
        return []
    fitting = [*values[:connections], *[1.0] * (connections - len(values))]
    return [
        Finding(
            "error",
            f"{key}.{found}",
            f"{len(values)} factors for {connections} top-down connections",
            "give one per connection, the highest resolution first (1.0 is plain FPN); "
            "tools/estimate_fusion_factors.py counts them on your data",
            {f"{key}.{found}": fitting},
        )
    ]


def _counting(detector: Detector) -> list[Finding]:
    """Judge whether statistic factors get their numbers."""
    if detector.model is None:
        return []
    counted = [
        name
        for name, module in detector.model.named_modules()
        if isinstance(module, StatisticFusionFactor) and module.num_connections
    ]
    hooks = list(detector.config.get("custom_hooks") or [])
    hooked = any(_named(node.get("type")) == _HOOK for _, node in walk(hooks))
    if not counted or hooked:
        return []
    loaded = detector.config.get("load_from")
    return [
        Finding(
            "warning" if loaded else "error",
            "custom_hooks",
            f"{counted[0]} is counted from the training set by {_HOOK}, which is not "
            "among custom_hooks"
            + ("; load_from must bring its numbers" if loaded else ""),
            "add the hook, or give numbers as fusion_factor",
            {"custom_hooks": [*_plain(hooks), dict(type=_HOOK)]},
        )
    ]


def _named(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", "")


def _plain(hooks: list[Any]) -> list[Any]:
    return [dict(hook) if isinstance(hook, Mapping) else hook for hook in hooks]
