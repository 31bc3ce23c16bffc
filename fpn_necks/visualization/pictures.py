"""All pictures, by the name that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from .asff import collect_asff_weights, draw_asff_weights
from .detections import collect_detections, draw_found
from .features import collect_features, draw_features
from .fusion_factors import (
    collect_factors,
    connection_names,
    draw_factors,
    read_factors,
)
from .grouping import collect_grouping, draw_grouping
from .sampling import collect_sampling, draw_sampling
from .soft_roi import collect_soft_roi_weights, draw_soft_roi_shares
from .uncertainty import collect_uncertainty, draw_uncertainty
from .views import prepare


@dataclass(frozen=True)
class Picture:
    """A picture of one image.

    Attributes:
        collect: gets a detector, an image as its network sees it, and `options`; raises
            a ValueError where the detector has nothing to show, or no such level or
            channel.
        draw: gets what that returned, with a label, of each detector, and a path. What
            belongs together of two detectors has one scale.
        options: of ``levels`` (names such as ``["c3", "p3"]``), ``channel`` (``None``
            for all together) and ``score_threshold`` (in [0, 1]).
    """

    collect: Callable[..., Any]
    draw: Callable[[Sequence[tuple[str, Any]], Path], None]
    options: tuple[str, ...] = ("levels",)


PICTURES = {
    "features": Picture(collect_features, draw_features, ("levels", "channel")),
    "asff-weights": Picture(collect_asff_weights, draw_asff_weights),
    "drfpn-sampling": Picture(collect_sampling, draw_sampling, ("levels", "channel")),
    "grouping": Picture(collect_grouping, draw_grouping),
    "detections": Picture(collect_detections, draw_found, ("score_threshold",)),
    "uncertainty": Picture(collect_uncertainty, draw_uncertainty),
}
"""The pictures of one image each."""

OF_ALL_IMAGES = {"soft-roi-ratios": ("levels",), "fusion-factors": ()}
"""The pictures of all images together, with their options."""

NAMES = (*PICTURES, *OF_ALL_IMAGES)


@dataclass(frozen=True)
class Detector:
    """A detector that is looked at.

    Attributes:
        label: what it is called where there are two.
        model: from ``fpn_necks.detectors.load_detector``.
        work_dir: of its training, for α over the iterations; ``None`` without one.
    """

    label: str
    model: nn.Module
    work_dir: Path | None = None


def options_of(name: str) -> tuple[str, ...]:
    """Return which of ``levels``, ``channel`` and ``score_threshold`` a picture reads.

    Raises:
        ValueError: there is no such picture.
    """
    if name not in NAMES:
        raise ValueError(f"there is no picture {name!r}; there is {', '.join(NAMES)}")
    return OF_ALL_IMAGES[name] if name in OF_ALL_IMAGES else PICTURES[name].options


def draw_picture(
    name: str,
    detectors: Sequence[Detector],
    images: Sequence[str | Path],
    path: str | Path,
    **options: Any,
) -> None:
    """Write a picture.

    Args:
        name: one of `NAMES`.
        detectors: that see the images.
        images: files: one, or for pictures of all images any number.
        path: picture file to write.
        **options: of the picture, see `options_of`.

    Raises:
        OSError: an image cannot be opened, or the picture not be written.
        ValueError: there is no such picture, it takes no such option or other images; a
            model has nothing to show; or a level or channel is not there.
    """
    for option in options:
        if option not in options_of(name):
            raise ValueError(f"the picture {name} takes no {option}")
    if name in PICTURES and len(images) != 1:
        raise ValueError(f"the picture {name} is of one image, got {len(images)}")
    if name in PICTURES:
        picture = PICTURES[name]
        found = [
            (x.label, picture.collect(x.model, prepare(x.model, images[0]), **options))
            for x in detectors
        ]
        picture.draw(found, path)
    elif name == "soft-roi-ratios":
        found = []
        for x in detectors:
            views = (prepare(x.model, image) for image in images)
            found.append((x.label, collect_soft_roi_weights(x.model, views)))
        draw_soft_roi_shares(found, path, **options)
    else:
        curves, names = [], {}
        for x in detectors:
            if x.work_dir is not None:
                of_it = read_factors(x.work_dir)
            else:
                views = [prepare(x.model, image) for image in images]
                of_it = collect_factors(x.model, views)
            curves.append((x.label, of_it))
            names |= connection_names(x.model)
        draw_factors(curves, path, names)
