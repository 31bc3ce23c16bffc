"""All pictures, by the name that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from .asff import collect_asff_weights
from .detections import collect_detections, draw_found
from .features import collect_features
from .figures import draw_heat_rows
from .fusion_factors import collect_factors, draw_factors
from .grouping import collect_grouping
from .sampling import collect_sampling
from .soft_roi import collect_soft_roi_shares, draw_soft_roi_shares
from .uncertainty import collect_uncertainty
from .views import prepare


@dataclass(frozen=True)
class Picture:
    """What a picture shows.

    Attributes:
        collect: gets a detector, an image as its network sees it (or all of them), and
            `options`; raises a ValueError where the detector has nothing to show, or no
            such level or channel.
        draw: gets what that returned, with a label, of each detector, and a path.
        options: of ``levels`` (names such as ``["c3", "p3"]``), ``channel`` (``None``
            for all together) and ``score_threshold`` (in [0, 1]).
        of_one_image: whether there is a picture of each image, or one of all.
    """

    collect: Callable[..., Any]
    draw: Callable[[Sequence[tuple[str, Any]], Path], None]
    options: tuple[str, ...] = ("levels",)
    of_one_image: bool = True


def _maps(
    collect: Callable[..., Any], title: str, options: tuple[str, ...] = ("levels",)
) -> Picture:
    return Picture(collect, partial(draw_heat_rows, title=title), options)


PICTURES = {
    "features": _maps(
        collect_features,
        "feature maps by level, one colour scale per kind of map",
        ("levels", "channel"),
    ),
    "asff-weights": _maps(
        collect_asff_weights, "how much each fused level takes from each level (ASFF)"
    ),
    "drfpn-sampling": _maps(
        collect_sampling,
        "sampling of the spatial refinement blocks (DRFPN)",
        ("levels", "channel"),
    ),
    "grouping": _maps(
        collect_grouping,
        "grouping matrices M of CFG-FPN, rows by group of the result",
    ),
    "detections": Picture(collect_detections, draw_found, ("score_threshold",)),
    "uncertainty": _maps(
        collect_uncertainty, "uncertainty α of the auxiliary heads, by map"
    ),
    "soft-roi-ratios": Picture(
        collect_soft_roi_shares, draw_soft_roi_shares, of_one_image=False
    ),
    "fusion-factors": Picture(collect_factors, draw_factors, (), of_one_image=False),
}


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


def draw_picture(
    name: str,
    detectors: Sequence[Detector],
    images: Sequence[str | Path],
    path: str | Path,
    **options: Any,
) -> None:
    """Write a picture.

    Args:
        name: one of `PICTURES`.
        detectors: that see the images.
        images: files: one, or for pictures of all images any number.
        path: picture file to write.
        **options: of the picture.

    Raises:
        OSError: an image cannot be opened, or the picture not be written.
        ValueError: a model has nothing to show, or a level or channel is not there.
    """
    picture = PICTURES[name]
    entries = []
    for x in detectors:
        views = (prepare(x.model, image) for image in images)
        if name == "fusion-factors":
            options["work_dir"] = x.work_dir
        seen = next(views) if picture.of_one_image else views
        entries.append((x.label, picture.collect(x.model, seen, **options)))
    picture.draw(entries, path)
