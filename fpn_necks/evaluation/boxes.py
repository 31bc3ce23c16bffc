"""Ground truth and detections as arrays."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any

import numpy as np

from ..coco_files import LARGEST, read_json, without_garbage_collection

_FIELDS = ("image_id", "category_id", "bbox", "score")


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
        visibilities: ``(G,)`` visible share: ``vis_ratio``, else of ``vis``, else 1.
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
            ValueError: no image is left, or a size or an area is no number or negative.
        """
        boxes = coco["annotations"]
        left_out = frozenset(
            a["image_id"] for a in boxes if leave_out_dense and a.get("in_dense_image")
        )
        image_ids = {image["id"] for image in coco["images"]} - left_out
        image_ids = sorted(image_ids, key=_numbers_first)
        if not image_ids:
            raise ValueError("the ground truth has no image to evaluate")
        listed = {a["category_id"] for a in boxes}
        if "categories" in coco:
            listed = {category["id"] for category in coco["categories"]}
        category_ids = sorted(listed, key=_numbers_first)
        first_group = {c: len(image_ids) * i for i, c in enumerate(category_ids)}
        if merge_categories:
            category_ids, first_group = [0], dict.fromkeys(listed, 0)
        place = {image: i for i, image in enumerate(image_ids)}
        boxes = [
            a
            for a in boxes
            if a["image_id"] in place and a["category_id"] in first_group
        ]
        groups = [first_group[a["category_id"]] + place[a["image_id"]] for a in boxes]
        order = np.argsort(groups, kind="stable").tolist()
        boxes = [boxes[i] for i in order]
        groups = np.array([groups[i] for i in order], dtype=np.int64)
        return cls(image_ids, category_ids, left_out, groups, **_columns(boxes))

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
        """Read COCO results: a list of dicts, or a file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a field is missing, or a box or score is no finite number, or a
                box has a negative side.
        """
        if isinstance(source, str | os.PathLike):
            source = read_json(source)
        if not isinstance(source, Sequence):
            raise ValueError(
                "the detections must be COCO results, a list of dicts with "
                f"{_FIELDS}, got a {type(source).__name__}"
            )
        try:
            with without_garbage_collection():
                images, categories, boxes, scores = (
                    [record[key] for record in source] for key in _FIELDS
                )
                scores = np.array(scores, dtype=np.float64).reshape(len(source))
                if not set(map(len, boxes)) <= {4}:
                    raise ValueError
                sides = chain.from_iterable(boxes)
                boxes = np.fromiter(sides, np.float64, 4 * len(source)).reshape(-1, 4)
                image_ids, images = _distinct(images)
                category_ids, categories = _distinct(categories)
            fine = (abs(boxes) <= LARGEST).all(1) & (boxes[:, 2:] >= 0).all(1)
            if not (fine & np.isfinite(scores)).all():
                raise ValueError
        except (KeyError, OverflowError, TypeError, ValueError):
            wrong = (i for i, record in enumerate(source) if not _is_result(record))
            i = next(wrong, 0)
            raise ValueError(
                f"detection {i} must have an image_id, a category_id, a bbox [x, y, "
                "width, height] with sides >= 0 and a score, all finite, got "
                f"{str(source[i])[:200]}"
            ) from None
        return cls(image_ids, images, category_ids, categories, boxes, scores)

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

    def places(self, which: str, known: Collection[Any], where: str) -> np.ndarray:
        """Return the place of every detection's image or category among known ids.

        Args:
            which: ``'image'``, ``'tile'`` or ``'category'``.
            known: different ids.
            where: what has them, for the message.

        Raises:
            ValueError: one is not there.
        """
        ids, rows = self.image_ids, self.images
        if which == "category":
            ids, rows = self.category_ids, self.categories
        index = {value: i for i, value in enumerate(known)}
        found = np.array([index.get(value, -1) for value in ids], dtype=np.int64)[rows]
        if (found < 0).any():
            first = int(found.argmin())
            raise ValueError(
                f"detection {first} belongs to {which} {ids[rows[first]]!r}, which "
                f"{where} does not have; it has {str(list(known)[:5])[1:-1] or 'none'}"
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
        groups = table.places("image", known, "the ground truth")
        positions = np.flatnonzero(groups < len(truth.image_ids))
        if not merge_categories:
            categories = table.places("category", truth.category_ids, "it")
            groups = groups + categories * len(truth.image_ids)
        groups = groups[positions]
        order = np.lexsort((-table.scores[positions], groups))
        groups, positions = groups[order], positions[order]
        ranks = np.arange(len(groups)) - np.searchsorted(groups, groups, side="left")
        kept = slice(None) if limit is None else ranks < limit
        boxes, scores = (
            values[positions[kept]].astype(np.float64)
            for values in (table.boxes, table.scores)
        )
        return cls(groups[kept], ranks[kept], boxes, scores, positions[kept])

    def __getitem__(self, rows: slice) -> RankedDetections:
        return RankedDetections(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def areas(self) -> np.ndarray:
        """``(D,)`` width times height."""
        return self.boxes[:, 2] * self.boxes[:, 3]


def _numbers_first(identifier: Any) -> tuple[bool, Any]:
    return isinstance(identifier, str), identifier


def _columns(annotations: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the columns of ``GroundTruth`` but its groups."""
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] = boxes[:, 2:].clip(0)
    areas = _numbers(annotations, "area", boxes[:, 2] * boxes[:, 3])
    seen = np.ones(len(boxes))
    for i, annotation in enumerate(annotations):
        visible = annotation.get("vis")
        if visible is not None and boxes[i, 2:].all():
            if not isinstance(visible, list) or np.shape(visible) != (4,):
                raise ValueError(
                    f"the vis of annotation {annotation['id']} must be 4 numbers, got "
                    f"{visible!r}"
                )
            seen[i] = np.prod(np.divide(visible[2:], boxes[i, 2:]))
    flags = dict(crowd="iscrowd", ignore="ignore", uncertain="uncertain")
    return dict(
        ids=np.array([a["id"] for a in annotations], dtype=object),
        boxes=boxes,
        areas=areas,
        sizes=_numbers(annotations, "size", np.sqrt(areas)),
        visibilities=_numbers(annotations, "vis_ratio", seen),
    ) | {
        name: np.array([bool(a.get(key)) for a in annotations], dtype=bool)
        for name, key in flags.items()
    }


def _numbers(
    annotations: Sequence[Mapping[str, Any]], key: str, otherwise: np.ndarray
) -> np.ndarray:
    """Return a field, or what stands for it where it is missing or null."""
    result = otherwise.copy()
    for i, annotation in enumerate(annotations):
        value = annotation.get(key)
        if value is not None:
            if not isinstance(value, int | float) or not 0 <= value <= LARGEST:
                raise ValueError(
                    f"annotation {annotation['id']} has the {key} {value!r}, expected "
                    "a finite number of at least 0"
                )
            result[i] = value
    return result


def _distinct(values: list[Any]) -> tuple[list[Any], np.ndarray]:
    """Return the different values in their order, and the place of each among them."""
    place = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return list(place), np.array([place[value] for value in values], dtype=np.int64)


def _is_result(record: Any) -> bool:
    try:
        hash((record["image_id"], record["category_id"]))
        box = np.array(record["bbox"], dtype=np.float64)
        finite = np.isfinite(float(record["score"])) and (abs(box) <= LARGEST).all()
    except (KeyError, OverflowError, TypeError, ValueError):
        return False
    return bool(finite and box.shape == (4,) and (box[2:] >= 0).all())
