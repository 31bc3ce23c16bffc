"""Reading COCO results, files of any length in pieces."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..coco_files import LARGEST, read_json, without_garbage_collection

_FIELDS = ("image_id", "category_id", "bbox", "score")


def read_results(
    source: Any,
) -> tuple[tuple[dict[Any, int], dict[Any, int]], list[np.ndarray]]:
    """Return the places of image and category ids, and the columns of all detections.

    Args:
        source: a list of dicts, or a file.

    Returns:
        Ids to places, and ``(N,)`` places of image and category, ``(N, 4)`` boxes and
        ``(N,)`` scores.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a detection is wrong; the message shows the first.
    """
    pieces = _pieces(source) if isinstance(source, str | os.PathLike) else [source]
    ids: tuple[dict, dict] = {}, {}
    columns: list[tuple[np.ndarray, ...]] = []
    first = 0
    with without_garbage_collection():
        for records in pieces:
            columns.append(_columns(records, ids, first))
            first += len(records)
    return ids, list(map(np.concatenate, zip(*columns, strict=True)))


def _pieces(path: str | os.PathLike[str], size: int = 1 << 24) -> Iterator[Any]:
    """Yield the records of a results file, some at a time: files may hold millions."""
    name = os.path.expanduser(os.fspath(path))
    if "://" in name or not os.path.isfile(name):
        yield read_json(path)
        return
    with open(name, "rb") as file:
        rest = file.read(size).removeprefix(b"\xef\xbb\xbf").lstrip()
        is_list, rest = rest[:1] == b"[", rest[1:]
        while is_list and (more := file.read(size)):
            end = rest.rfind(b"},")
            # Wrong if a record ends within the text of another: read on.
            try:
                records = json.loads(b"[%s]" % rest[: end + 1]) if end > 0 else []
            except ValueError:
                records = []
            if records:
                yield records
                rest = rest[end + 2 :]
            rest += more
        if is_list:
            try:
                records = json.loads(b"[" + rest)
            except (RecursionError, ValueError):
                is_list = False
            else:
                yield records
    if not is_list:
        yield read_json(path)  # says what is wrong


def _columns(
    records: Any, ids: tuple[dict[Any, int], dict[Any, int]], first: int
) -> tuple[np.ndarray, ...]:
    """Return places of images and categories, boxes and scores; new ids are added."""
    if not isinstance(records, Sequence) or isinstance(records, str | bytes):
        raise ValueError(
            f"the detections must be COCO results, a list of dicts with {_FIELDS}, got "
            f"a {type(records).__name__}"
        )
    try:
        images, categories, boxes, scores = (
            [record[key] for record in records] for key in _FIELDS
        )
        scores = np.array(scores, dtype=np.float64).reshape(len(records))
        if not set(map(len, boxes)) <= {4}:
            raise ValueError
        flat = chain.from_iterable(boxes)
        boxes = np.fromiter(flat, np.float64, 4 * len(records)).reshape(-1, 4)
        places = []
        for values, known in zip((images, categories), ids, strict=True):
            for value in dict.fromkeys(values):
                known.setdefault(value, len(known))
            places.append(np.array([known[v] for v in values], dtype=np.int64))
        fine = (abs(boxes) <= LARGEST).all(1) & (boxes[:, 2:] >= 0).all(1)
        if not (fine & np.isfinite(scores)).all():
            raise ValueError
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(_fault(records, first)) from None
    return *places, boxes, scores


def _fault(records: Sequence[Any], first: int) -> str:
    """Say what is wrong with the first wrong record, whose number is counted on."""
    for number, record in enumerate(records, first):
        shown = f"detection {number}: {str(record)[:200]}"
        if not isinstance(record, Mapping):
            return f"{shown} is no dict"
        for key in _FIELDS:
            if key not in record:
                return f"{shown} has no {key!r}"
        for key in _FIELDS[:2]:
            if not isinstance(record[key], int | float | str):
                return f"{shown} has a {key} that is neither number nor string"
        try:
            box = np.array(record["bbox"], dtype=np.float64)
            score = float(record["score"])
        except (OverflowError, TypeError, ValueError):
            return f"{shown}: bbox must be 4 numbers and score a number"
        if box.shape != (4,) or not (abs(box) <= LARGEST).all() or (box[2:] < 0).any():
            return (
                f"{shown} has a bbox that is not [x, y, width, height], finite, "
                "sides at least 0"
            )
        if not np.isfinite(score):
            return f"{shown} has a score that is not finite"
    return "the detections are no COCO results"
