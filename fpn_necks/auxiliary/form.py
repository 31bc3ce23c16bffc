"""What the forms of auxiliary supervision have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from fpn_necks.layers import check_bool, check_number, recompute

from .features import SupervisedLevel, find_levels
from .uncertainty import KINDS, UncertaintyRows


class AuxiliaryForm(BaseModule):
    """Base of the heads that supervise maps inside a detector, in training only.

    A detector that is built passes itself to the constructor, enters ``recording``
    around its own loss and then asks for ``loss``. Nothing of it is kept as an
    attribute: its parameters have their own names alone.

    Args:
        detector: the built detector, to look at.
        settings: the config it was built from.
        levels: see ``find_levels``.
        in_channels: see ``find_levels``.
        first_level: see ``find_levels``.
        loss_weight: factor of all auxiliary losses, at least 0.
        uncertainty_weight: τ of Eq. 10 in "You Should Look at All Objects", which
            does not give it (0.5 is our choice); ``None`` weights no loss by
            uncertainty.
        with_cp: compute what belongs to one level anew in the backward pass instead of
            keeping it.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a value that is not allowed, or the detector cannot
            carry this form.
    """

    def __init__(
        self,
        detector: nn.Module,
        settings: Mapping[str, Any],
        levels: Sequence[str] | str,
        in_channels: Sequence[int] | None = None,
        loss_weight: float = 1.0,
        uncertainty_weight: float | None = None,
        first_level: int | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        check_number("loss_weight", loss_weight)
        if uncertainty_weight is not None:
            check_number("uncertainty_weight", uncertainty_weight)
        self.levels: tuple[SupervisedLevel, ...] = find_levels(
            detector, levels, in_channels, first_level
        )
        frozen = [level.name for level in self.levels if level.is_frozen]
        if frozen:
            warnings.warn(
                f"frozen_stages freezes all that computes {', '.join(frozen)}: "
                "auxiliary losses there train nothing but their own heads; leave these "
                "levels out or lower backbone.frozen_stages",
                stacklevel=3,
            )
        self.with_cp = check_bool("with_cp", with_cp)
        self.loss_weight = loss_weight
        self.uncertainty_weight = uncertainty_weight

    def extra_repr(self) -> str:
        """Name what no module below shows."""
        names = ", ".join(level.name for level in self.levels)
        return (
            f"levels={names}, loss_weight={self.loss_weight}, "
            f"uncertainty_weight={self.uncertainty_weight}"
        )

    def init_weights(self) -> None:
        """Initialise, and leave the random numbers that follow as they would be."""
        with torch.random.fork_rng(devices=[]):
            super().init_weights()

    @contextmanager
    def recording(self, detector: nn.Module) -> Iterator[dict[str, list]]:
        """Keep what the detector computes in the ``with`` block."""
        raise NotImplementedError

    def loss(
        self,
        detector: nn.Module,
        features: Mapping[str, Tensor],
        recorded: Mapping[str, list],
        samples: Sequence[InstanceData],
    ) -> dict[str, Tensor]:
        """Compute the auxiliary losses of a batch.

        Args:
            detector: whose loss was recorded.
            features: the supervised maps, by name.
            recorded: what ``recording`` gave.
            samples: the batch's data samples.

        Returns:
            ``aux.loss_<kind>.<level>``, scalars; with uncertainty also τ · mean(α) as
            ``aux.loss_<kind>_alpha.<level>``, and ``aux.alpha_<kind>.<level>``, which
            is for the log alone. The keys are the same for every batch.
        """
        raise NotImplementedError

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of one level, with ``with_cp`` to be done anew."""
        if self.with_cp:
            return recompute(self, function, *arguments)
        return function(*arguments)

    def uncertainty_losses(
        self, rows: UncertaintyRows, level: str
    ) -> dict[str, Tensor]:
        """Return τ · mean(α) of a level's losses, and mean(α) for the log."""
        losses = {}
        factor = self.loss_weight * self.uncertainty_weight
        for kind in KINDS:
            mean = rows.mean(kind)
            losses[f"aux.loss_{kind}_alpha.{level}"] = factor * mean
            losses[f"aux.alpha_{kind}.{level}"] = mean.detach()
        return losses


def check_strides(
    levels: Sequence[SupervisedLevel],
    features: Mapping[str, Tensor],
    image_size: tuple[int, int],
) -> None:
    """Raise where a map does not have the stride that its name says.

    The image size is height and width of the padded batch in pixels.
    """
    for level in levels:
        expected = tuple(-(-side // level.stride) for side in image_size)
        found = tuple(features[level.name].shape[-2:])
        if any(abs(a - b) > 1 for a, b in zip(expected, found, strict=True)):
            raise ValueError(
                f"{level.name} is a map of {found}, but an image of {image_size} has "
                f"{expected} cells of {level.stride} pixels; set first_level"
            )
