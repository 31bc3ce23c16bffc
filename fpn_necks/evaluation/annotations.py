"""Read ground truth and detections in COCO's formats, checked, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import json_fields
from .json_fields import Json, Record, column, describe, look_up, sorted_ids, unique_ids

# The visibility of a box that does not tell its own; the released code's number.
_FULLY_VISIBLE = 1 - 1e-12


@dataclass(frozen=True)
class GroundTruth:
    """The boxes of a set of images, sorted by group, in file order within a group.

    A group is one category in one image: nothing is matched across groups. Groups are
    numbered category by category, images in the order of their ids.

    Attributes:
        image_ids: sorted.
        category_ids: sorted; one entry if the categories are merged.
        left_out: ids of images that are in the file and not evaluated.
        groups: ``(G,)`` group of each box.
        ids: ``(G,)`` annotation ids.
        boxes: ``(G, 4)`` float64 (x, y, width, height).
        areas: ``(G,)`` the field ``area``, else width times height.
        sizes: ``(G,)`` the field ``size``, else √area.
        visibilities: ``(G,)`` visible share, from ``vis_ratio`` or ``vis``.
        crowd: ``(G,)`` the field ``iscrowd``.
        ignore: ``(G,)`` the field ``ignore``.
        uncertain: ``(G,)`` the field ``uncertain``.
    """

    image_ids: list[Any]
    category_ids: list[Any]
    left_out: frozenset[Any]
    groups: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    sizes: np.ndarray
    visibilities: np.ndarray
    crowd: np.ndarray
    ignore: np.ndarray
    uncertain: np.ndarray

    @property
    def categories(self) -> np.ndarray:
        """``(G,)`` index of each box's category."""
        return self.groups // len(self.image_ids)


@dataclass(frozen=True)
class DetectionTable:
    """Detections as they stand in a file.

    Attributes:
        image_ids: one per detection.
        category_ids: one per detection.
        boxes: ``(N, 4)`` float64 (x, y, width, height).
        scores: ``(N,)`` float64.
    """

    image_ids: list[Any]
    category_ids: list[Any]
    boxes: np.ndarray
    scores: np.ndarray

    def records(self) -> list[dict[str, Any]]:
        """Return the detections in COCO's results format."""
        columns = (
            self.image_ids,
            self.category_ids,
            self.boxes.tolist(),
            self.scores.tolist(),
        )
        return [
            dict(image_id=image, category_id=category, bbox=box, score=score)
            for image, category, box, score in zip(*columns, strict=True)
        ]


@dataclass(frozen=True)
class RankedDetections:
    """Detections sorted by group, then by falling score, ties in file order.

    Attributes:
        groups: ``(D,)`` group, as in ``GroundTruth``.
        ranks: ``(D,)`` place within the group, from 0.
        boxes: ``(D, 4)`` float64 (x, y, width, height).
        scores: ``(D,)`` float64.
        positions: ``(D,)`` place in the file, from 0.
    """

    groups: np.ndarray
    ranks: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    positions: np.ndarray

    @property
    def areas(self) -> np.ndarray:
        """``(D,)`` width times height."""
        return self.boxes[:, 2] * self.boxes[:, 3]

    def first(self, count: int) -> RankedDetections:
        """Keep at most so many detections per group, those of the highest scores."""
        kept = self.ranks < count
        columns = (self.groups, self.ranks, self.boxes, self.scores, self.positions)
        return RankedDetections(*(values[kept] for values in columns))


def read_ground_truth(
    data: Json, merge_categories: bool = False, leave_out_dense: bool = False
) -> GroundTruth:
    """Read COCO annotations.

    Args:
        data: with ``images``, ``annotations`` and ``categories``; without the last, the
            categories are those of the annotations.
        merge_categories: all categories are one.
        leave_out_dense: images with a box that carries ``in_dense_image`` are not
            evaluated.

    Raises:
        ValueError: a field is missing or has a value that cannot be; an id occurs
            twice; a box belongs to an unknown image or category.
    """
    if not isinstance(data, Mapping) or not {"images", "annotations"} <= set(data):
        raise ValueError(
            "the ground truth must be COCO annotations, a dictionary with 'images' and "
            f"'annotations', got {describe(data)}"
        )
    annotations = data["annotations"]
    image_ids = sorted_ids(column(data["images"], "id", "image"), "image")
    if not image_ids:
        raise ValueError("the ground truth has no image")
    owners = column(annotations, "image_id", "annotation")
    # Checked before images are left out, so that the place in the file can be named.
    look_up(owners, image_ids, "annotation", "image", "the ground truth")
    ids = unique_ids(column(annotations, "id", "annotation"), "annotation")
    left_out: frozenset[Any] = frozenset()
    if leave_out_dense:
        dense = json_fields.flags(annotations, "in_dense_image", "annotation").tolist()
        left_out = frozenset(o for o, d in zip(owners, dense, strict=True) if d)
        kept = [i for i, owner in enumerate(owners) if owner not in left_out]
        annotations = [annotations[i] for i in kept]
        owners, ids = [owners[i] for i in kept], [ids[i] for i in kept]
        image_ids = [image for image in image_ids if image not in left_out]
        if not image_ids:
            raise ValueError("every image of the ground truth is dense: none is left")
    categories, category_ids = _categories(data, annotations, merge_categories)
    groups = _groups(owners, image_ids, categories, category_ids, "annotation")
    order = np.argsort(groups, kind="stable")
    columns = dict(groups=groups, ids=_objects(ids), **_box_columns(annotations))
    columns = {name: values[order] for name, values in columns.items()}
    return GroundTruth(image_ids, category_ids, left_out, **columns)


def read_detections(data: Json) -> DetectionTable:
    """Read detections in COCO's results format.

    Raises:
        ValueError: a field is missing, or a box or score is no finite number, or a box
            has a negative side.
    """
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        raise ValueError(
            "the detections must be COCO results, a list of dictionaries with "
            f"'image_id', 'category_id', 'bbox' and 'score', got {describe(data)}"
        )
    return DetectionTable(
        column(data, "image_id", "detection"),
        column(data, "category_id", "detection"),
        json_fields.boxes(data, "detection"),
        json_fields.numbers(data, "score", "detection"),
    )


def rank_detections(
    table: DetectionTable, truth: GroundTruth, merge_categories: bool = False
) -> RankedDetections:
    """Sort detections into the groups of a ground truth.

    Raises:
        ValueError: an image or a category is not in the ground truth.
    """
    positions = np.arange(len(table.scores))
    images, categories = table.image_ids, table.category_ids
    if truth.left_out:
        kept = [i for i, image in enumerate(images) if image not in truth.left_out]
        positions = np.array(kept, dtype=np.int64)
        images = [images[i] for i in kept]
        categories = [categories[i] for i in kept]
    if merge_categories:
        categories = [0] * len(categories)
    groups = _groups(
        images, truth.image_ids, categories, truth.category_ids, "detection"
    )
    order = np.lexsort((-table.scores[positions], groups))
    groups, positions = groups[order], positions[order]
    starts = np.searchsorted(groups, groups, side="left")
    return RankedDetections(
        groups,
        np.arange(len(groups)) - starts,
        table.boxes[positions],
        table.scores[positions],
        positions,
    )


def _categories(
    data: Record, annotations: Sequence[Record], merged: bool
) -> tuple[list[Any], list[Any]]:
    """Return the category of every annotation, and all categories."""
    categories = column(annotations, "category_id", "annotation")
    if merged:
        return [0] * len(categories), [0]
    if "categories" in data:
        listed = column(data["categories"], "id", "category")
    else:
        listed = list(set(categories))
    return categories, sorted_ids(listed, "category")


def _groups(
    images: list[Any],
    image_ids: list[Any],
    categories: list[Any],
    category_ids: list[Any],
    what: str,
) -> np.ndarray:
    where = "the ground truth"
    image = look_up(images, image_ids, what, "image", where)
    category = look_up(categories, category_ids, what, "category", where)
    return category * len(image_ids) + image


def _box_columns(annotations: Sequence[Record]) -> dict[str, np.ndarray]:
    what = "annotation"
    boxes = json_fields.boxes(annotations, what)
    areas = json_fields.numbers(annotations, "area", what, boxes[:, 2] * boxes[:, 3])
    json_fields.refuse(areas < 0, annotations, what, "a negative area")
    result = dict(
        boxes=boxes,
        areas=areas,
        sizes=json_fields.numbers(annotations, "size", what, np.sqrt(areas)),
        visibilities=_visibilities(annotations, boxes),
    )
    for name, field in dict(
        crowd="iscrowd", ignore="ignore", uncertain="uncertain"
    ).items():
        result[name] = json_fields.flags(annotations, field, what)
    return result


def _visibilities(annotations: Sequence[Record], boxes: np.ndarray) -> np.ndarray:
    """Return ``vis_ratio``, else the sides of ``vis`` over those of the box."""
    otherwise = np.full(len(boxes), _FULLY_VISIBLE)
    for i, visible in enumerate(column(annotations, "vis", "annotation", None)):
        if visible is not None and boxes[i, 2:].all():
            if not json_fields.is_box(visible):
                raise ValueError(
                    f"the vis of annotation {i} must be 4 numbers, got {visible!r}"
                )
            sides = np.array(visible[-2:], dtype=np.float64)
            otherwise[i] = (sides / boxes[i, 2:]).prod()
    return json_fields.numbers(annotations, "vis_ratio", "annotation", otherwise)


def _objects(values: list[Any]) -> np.ndarray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result
