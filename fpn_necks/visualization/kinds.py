"""The kinds of pictures, by the name that the command line gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from .asff_weights import collect_asff_weights, draw_asff_weights
from .features import collect_features, draw_features
from .found_objects import collect_detections, draw_found
from .fusion_factors import (
    collect_factors,
    connection_names,
    draw_factors,
    read_factors,
)
from .grouping import collect_grouping, draw_grouping
from .sampling import collect_sampling, draw_sampling
from .soft_roi_shares import collect_soft_roi_weights, draw_soft_roi_shares
from .uncertainty import collect_uncertainty, draw_uncertainty
from .views import View, prepare

PER_IMAGE = (
    "features",
    "asff-weights",
    "drfpn-sampling",
    "grouping",
    "detections",
    "uncertainty",
)
PER_RUN = ("soft-roi-ratios", "fusion-factors")
KINDS = PER_IMAGE + PER_RUN
WITHOUT_LEVELS = ("fusion-factors", "detections")
WITH_CHANNEL = ("features", "drfpn-sampling")


@dataclass(frozen=True)
class Subject:
    """A detector that is looked at.

    Attributes:
        label: what it is called where there are two.
        model: from ``fpn_necks.detectors.load_detector``.
        work_dir: of its training, for α over the iterations; ``None`` without one.
    """

    label: str
    model: nn.Module
    work_dir: Path | None = None


@dataclass(frozen=True)
class Choices:
    """What of a kind of picture is shown.

    Attributes:
        levels: names of levels; ``None`` for all.
        channel: of maps; ``None`` for all together.
        score_threshold: of detections.
    """

    levels: tuple[str, ...] | None = None
    channel: int | None = None
    score_threshold: float = 0.3


def draw_image(
    kind: str,
    subjects: Sequence[Subject],
    image: str | Path,
    path: str | Path,
    choices: Choices = Choices(),
) -> None:
    """Write one of the pictures of ``PER_IMAGE``.

    Args:
        kind: which one.
        subjects: detectors that see the image.
        image: its file.
        path: picture file to write.
        choices: what is shown.

    Raises:
        OSError: the image cannot be opened, or the picture not be written.
        ValueError: a model has nothing to show, or a level or channel is not there.
    """
    entries = []
    for subject in subjects:
        model, view = subject.model, prepare(subject.model, image)
        levels, channel = choices.levels, choices.channel
        if kind == "features":
            found = collect_features(model, view, levels, channel)
        elif kind == "asff-weights":
            found = collect_asff_weights(model, view, levels)
        elif kind == "drfpn-sampling":
            found = collect_sampling(model, view, levels, channel)
        elif kind == "grouping":
            found = collect_grouping(model, view, levels)
        elif kind == "detections":
            found = collect_detections(model, view, choices.score_threshold)
        elif kind == "uncertainty":
            found = collect_uncertainty(model, view, levels)
        else:
            raise ValueError(f"kind must be one of {PER_IMAGE}, got {kind!r}")
        entries.append((subject.label, found))
    DRAW[kind](entries, path)


DRAW = {
    "features": draw_features,
    "asff-weights": draw_asff_weights,
    "drfpn-sampling": draw_sampling,
    "grouping": draw_grouping,
    "detections": draw_found,
    "uncertainty": draw_uncertainty,
}


def draw_run(
    kind: str,
    subjects: Sequence[Subject],
    images: Sequence[str | Path],
    path: str | Path,
    choices: Choices = Choices(),
) -> None:
    """Write one of the pictures of ``PER_RUN``: of all images together.

    Args:
        kind: which one.
        subjects: detectors.
        images: files; fusion factors that do not depend on images need none.
        path: picture file to write.
        choices: what is shown.

    Raises:
        OSError: an image cannot be opened, or the picture not be written.
        ValueError: a model has nothing to show, or a level is not there.
    """
    if kind == "soft-roi-ratios":
        entries = [
            (s.label, collect_soft_roi_weights(s.model, _views(s.model, images)))
            for s in subjects
        ]
        draw_soft_roi_shares(entries, path, choices.levels)
        return
    if kind != "fusion-factors":
        raise ValueError(f"kind must be one of {PER_RUN}, got {kind!r}")
    curves, names = [], {}
    for subject in subjects:
        if subject.work_dir is not None:
            found = read_factors(subject.work_dir)
        else:
            found = collect_factors(subject.model, list(_views(subject.model, images)))
        curves.append((subject.label, found))
        names |= connection_names(subject.model)
    draw_factors(curves, path, names)


def _views(model: nn.Module, images: Sequence[str | Path]) -> Iterator[View]:
    return (prepare(model, image) for image in images)
