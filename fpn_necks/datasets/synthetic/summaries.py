"""What a written set holds: its folder and the counts of its splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .scene import Person


@dataclass(frozen=True)
class SplitSummary:
    """Where a split lies and what it holds.

    Args:
        annotation_file: COCO json of the split.
        image_dir: Folder of the split's images.
        images: Number of images.
        dense_images: Number of dense images among them.
        boxes: Number of all boxes.
        ignored: Number of ignore regions among them.
        uncertain: Number of uncertain boxes among them.
        logos: Number of printed people among them.
        boxes_per_category: Number of boxes of each category name.
        size_quantiles: Least, 25 %, 50 %, 75 % and largest size, in pixels, of the
            boxes that are no ignore region; empty without boxes.
    """

    annotation_file: Path
    image_dir: Path
    images: int
    dense_images: int
    boxes: int
    ignored: int
    uncertain: int
    logos: int
    boxes_per_category: dict[str, int] = field(default_factory=dict)
    size_quantiles: tuple[float, ...] = ()

    def __str__(self) -> str:
        sizes = "no boxes"
        if self.size_quantiles:
            least, _, median, _, largest = self.size_quantiles
            sizes = f"{least:.1f} to {largest:.1f} px, median {median:.1f} px"
        return (
            f"{self.images} images ({self.dense_images} dense), {self.boxes} boxes "
            f"({self.ignored} ignore regions, {self.uncertain} uncertain, "
            f"{self.logos} logos), {sizes}"
        )


@dataclass(frozen=True)
class SyntheticTinyPerson:
    """The written set: its folder and the summary of each split."""

    root: Path
    train: SplitSummary
    val: SplitSummary


def summarize_split(
    annotation_file: Path, image_dir: Path, coco: dict, people: Sequence[Person]
) -> SplitSummary:
    """Counts what the COCO dict `coco` of a split and its `people` hold."""
    sizes = [person.size for person in people if not person.ignore]
    quantiles: tuple[float, ...] = ()
    if sizes:
        quantiles = tuple(float(q) for q in np.quantile(sizes, (0, 0.25, 0.5, 0.75, 1)))
    names = {category["id"]: category["name"] for category in coco["categories"]}
    per_category = dict.fromkeys(names.values(), 0)
    for annotation in coco["annotations"]:
        per_category[names[annotation["category_id"]]] += 1
    return SplitSummary(
        annotation_file=annotation_file,
        image_dir=image_dir,
        images=len(coco["images"]),
        dense_images=sum(image["in_dense_image"] for image in coco["images"]),
        boxes=len(people),
        ignored=sum(person.ignore for person in people),
        uncertain=sum(person.uncertain for person in people),
        logos=sum(person.logo for person in people),
        boxes_per_category=per_category,
        size_quantiles=quantiles,
    )
