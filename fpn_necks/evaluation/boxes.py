"""Ground truth and detections as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..coco_files import without_garbage_collection
from .results_files import read_results

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

    @classmethod
    def of(
        cls,
        coco: Mapping[str, Any],
        merge_categories: bool = False,
        leave_out_dense: bool = False,
    ) -> GroundTruth:
        """Read annotations that ``check_coco`` has seen.

        Boxes of categories that the file does not list are left out, as pycocotools
        does; without ``categories`` there are those of the annotations.

        Raises:
            ValueError: no image is left, ids are of several types, or a size or an area
                is no number or negative.
        """
        annotations = coco["annotations"]
        left_out: frozenset[Any] = frozenset()
        if leave_out_dense:
            left_out = frozenset(
                a["image_id"] for a in annotations if a.get("in_dense_image")
            )
        image_ids = _sorted({image["id"] for image in coco["images"]} - left_out)
        if not image_ids:
            dense = ": all are dense" if left_out else ""
            raise ValueError(f"the ground truth has no image to evaluate{dense}")
        listed = {c["id"] for c in coco.get("categories", [])}
        if "categories" not in coco:
            listed = {a["category_id"] for a in annotations}
        category_ids = [0] if merge_categories else _sorted(listed)
        annotations = [
            a
            for a in annotations
            if a["image_id"] not in left_out and a["category_id"] in listed
        ]
        image = _places([a["image_id"] for a in annotations], image_ids)
        category = np.zeros(len(annotations), dtype=np.int64)
        if not merge_categories:
            category = _places([a["category_id"] for a in annotations], category_ids)
        columns = dict(groups=category * len(image_ids) + image)
        columns["ids"] = np.array([a["id"] for a in annotations], dtype=object)
        columns |= _box_columns(annotations)
        order = np.argsort(columns["groups"], kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
        return cls(image_ids, category_ids, left_out, **columns)

    def __getitem__(self, rows: slice) -> GroundTruth:
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self)[3:]}
        return replace(self, **columns)


@dataclass(frozen=True)
class Detections:
    """Detections of a set of images or tiles, in their order.

    Attributes:
        image_ids: different ids.
        images: ``(N,)`` index into ``image_ids`` of each detection.
        category_ids: different ids.
        categories: ``(N,)`` index into ``category_ids``.
        boxes: ``(N, 4)`` (x, y, width, height).
        scores: ``(N,)``.
    """

    image_ids: list[Any]
    images: np.ndarray
    category_ids: list[Any]
    categories: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    @classmethod
    def read(cls, source: Any) -> Detections:
        """Read COCO results: a list of dicts, or a file, which is read in pieces.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a field is missing, or a box or score is no finite number, or a
                box has a negative side.
        """
        ids, columns = read_results(source)
        images, categories, boxes, scores = columns
        return cls(list(ids[0]), images, list(ids[1]), categories, boxes, scores)

    def records(self) -> list[dict[str, Any]]:
        """Return the detections in COCO's results format."""
        columns = self.images, self.categories, self.boxes, self.scores
        with without_garbage_collection():
            return [
                {
                    "image_id": self.image_ids[image],
                    "category_id": self.category_ids[category],
                    "bbox": box,
                    "score": score,
                }
                for image, category, box, score in zip(
                    *(values.tolist() for values in columns), strict=True
                )
            ]

    def places(self, which: str, known: Sequence[Any], where: str) -> np.ndarray:
        """Return the place of every detection's image or category among known ids.

        Args:
            which: ``'image'``, ``'tile'`` or ``'category'``.
            known: different ids; those of value None are unknown.
            where: what has them, for the message.

        Raises:
            ValueError: one is not there.
        """
        ids, rows = self.image_ids, self.images
        if which == "category":
            ids, rows = self.category_ids, self.categories
        index = {value: i for i, value in enumerate(known)}
        found = np.array([index.get(value, -1) for value in ids], dtype=np.int64)
        found = found[rows]
        if len(found) and found.min() < 0:
            first, count = int(found.argmin()), int((found < 0).sum())
            some = ", ".join(map(repr, known[:5])) + (", ..." if len(known) > 5 else "")
            raise ValueError(
                f"detection {first} belongs to {which} {ids[rows[first]]!r}, which "
                f"{where} does not have ({count} such; it has {some or 'none'})"
            )
        return found


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

    @classmethod
    def of(
        cls,
        table: Detections,
        truth: GroundTruth,
        merge_categories: bool = False,
        limit: int | None = None,
    ) -> RankedDetections:
        """Sort detections, at most ``limit`` per group, those of the highest scores.

        Raises:
            ValueError: an image or a category is not in the ground truth.
        """
        known = [*truth.image_ids, *truth.left_out]
        images = table.places("image", known, "the ground truth")
        categories = np.zeros_like(images)
        if not merge_categories:
            categories = table.places("category", truth.category_ids, "it")
        positions = np.flatnonzero(images < len(truth.image_ids))
        groups = (categories * len(truth.image_ids) + images)[positions]
        order = np.lexsort((-table.scores[positions], groups))
        groups, positions = groups[order], positions[order]
        ranks = np.arange(len(groups)) - np.searchsorted(groups, groups, side="left")
        if limit is not None:
            kept = ranks < limit
            groups, ranks, positions = groups[kept], ranks[kept], positions[kept]
        boxes = table.boxes[positions].astype(np.float64)
        scores = table.scores[positions].astype(np.float64)
        return cls(groups, ranks, boxes, scores, positions)

    def __getitem__(self, rows: slice) -> RankedDetections:
        return RankedDetections(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def areas(self) -> np.ndarray:
        """``(D,)`` width times height."""
        return self.boxes[:, 2] * self.boxes[:, 3]


def _sorted(ids: set[Any]) -> list[Any]:
    try:
        return sorted(ids)
    except TypeError:
        raise ValueError("ids must all be numbers, or all strings") from None


def _places(values: list[Any], known: list[Any]) -> np.ndarray:
    index = {value: i for i, value in enumerate(known)}
    return np.array([index[value] for value in values], dtype=np.int64)


def _box_columns(annotations: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] = boxes[:, 2:].clip(0)
    areas = _numbers(annotations, "area", boxes[:, 2] * boxes[:, 3])
    seen = np.full(len(boxes), _FULLY_VISIBLE)
    for i, annotation in enumerate(annotations):
        visible = annotation.get("vis")
        if visible is not None and boxes[i, 2:].all():
            try:
                _, _, width, height = map(float, visible)
            except (TypeError, ValueError):
                raise ValueError(
                    f"the vis of annotation {annotation['id']} must be 4 numbers, got "
                    f"{visible!r}"
                ) from None
            seen[i] = (np.array([width, height]) / boxes[i, 2:]).prod()
    return dict(
        boxes=boxes,
        areas=areas,
        sizes=_numbers(annotations, "size", np.sqrt(areas)),
        visibilities=_numbers(annotations, "vis_ratio", seen),
    ) | {
        name: np.array([bool(a.get(key)) for a in annotations], dtype=bool)
        for name, key in (
            ("crowd", "iscrowd"),
            ("ignore", "ignore"),
            ("uncertain", "uncertain"),
        )
    }


def _numbers(
    annotations: Sequence[Mapping[str, Any]], key: str, otherwise: np.ndarray
) -> np.ndarray:
    """Return a field, or what stands for it where it is missing or null."""
    result = otherwise.copy()
    for i, annotation in enumerate(annotations):
        value = annotation.get(key)
        if value is not None:
            try:
                result[i] = value
            except (OverflowError, TypeError, ValueError):
                result[i] = np.nan
            if not 0 <= result[i] < np.inf:
                raise ValueError(
                    f"annotation {annotation['id']} has the {key} {value!r}, expected "
                    "a finite number of at least 0"
                )
    return result
