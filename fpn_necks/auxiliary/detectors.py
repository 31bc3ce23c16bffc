"""Detectors with auxiliary losses: any of mmdet's, and any of a user's own."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.registry import MODELS
from torch import Tensor

from .features import record_features
from .form import AuxiliaryForm


class AuxiliaryLosses:
    """Put before a detector's class: adds auxiliary losses to its own.

    A detector of one's own gets them by
    ``class AuxiliaryMine(AuxiliaryLosses, Mine): pass``. mmdet's have them already:
    ``AuxiliaryRetinaNet``, ``AuxiliaryFasterRCNN`` and so on for every detector of one
    or two stages that mmdet registers.

    Testing is the detector's own. The detector's parameters keep their names; those of
    the auxiliary losses begin with ``auxiliary.``.

    Args:
        auxiliary: config of ``RoIAuxiliary`` or ``DenseAuxiliary``; ``None`` is the
            plain detector.
        **settings: arguments of the detector.

    Raises:
        TypeError: ``auxiliary`` is no config of a form.
        ValueError: the detector cannot carry it.
    """

    def __init__(
        self, auxiliary: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        # The detector changes some of its arguments while it is built.
        super().__init__(**copy.deepcopy(settings))
        self.auxiliary: AuxiliaryForm | None = None
        if auxiliary is not None:
            form = _form(auxiliary)
            arguments = {k: value for k, value in auxiliary.items() if k != "type"}
            # A seed gives the detector the weights that it gives the plain one.
            with torch.random.fork_rng(devices=[]):
                self.auxiliary = form(self, settings, **arguments)

    def loss(self, batch_inputs: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Return the detector's losses and those of ``AuxiliaryForm.loss``."""
        if self.auxiliary is None:
            return super().loss(batch_inputs, batch_data_samples)
        with (
            record_features(self, self.auxiliary.levels) as features,
            self.auxiliary.recording(self) as recorded,
        ):
            losses = super().loss(batch_inputs, batch_data_samples)
        auxiliary = self.auxiliary.loss(self, features, recorded, batch_data_samples)
        return {**losses, **auxiliary}


def _form(auxiliary: Mapping[str, Any]) -> type[AuxiliaryForm]:
    if not isinstance(auxiliary, Mapping) or "type" not in auxiliary:
        raise TypeError(f"auxiliary must be a config with a type, got {auxiliary!r}")
    kind = auxiliary["type"]
    form = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(form, type) and issubclass(form, AuxiliaryForm)):
        raise TypeError(
            f"auxiliary must have type RoIAuxiliary or DenseAuxiliary, got {kind!r}"
        )
    return form


def _register_twins() -> list[str]:
    """Register ``Auxiliary<Name>`` for every detector of one or two stages."""
    module, kinds = sys.modules[__name__], (SingleStageDetector, TwoStageDetector)
    names = []
    for name, detector in list(MODELS.module_dict.items()):
        if not (isinstance(detector, type) and issubclass(detector, kinds)):
            continue
        if detector in kinds or issubclass(detector, AuxiliaryLosses):
            continue
        doc = f"mmdet's {name} with auxiliary losses."
        attributes = {"__module__": __name__, "__doc__": doc}
        twin = type(f"Auxiliary{name}", (AuxiliaryLosses, detector), attributes)
        MODELS.register_module(module=twin)
        setattr(module, twin.__name__, twin)
        names.append(twin.__name__)
    return names


TWINS = _register_twins()
