"""Fields of json records as checked columns: one clear message for what is wrong."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Json = Any
Record = Mapping[str, Any]
Source = Record | Sequence[Record] | str | Path

_REQUIRED = object()


def load_json(source: Source, name: str) -> Json:
    """Return what a file holds, or ``source`` itself if it is no path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold JSON.
    """
    if not isinstance(source, str | Path):
        return source
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"the file of the {name}, {path}, does not exist")
    try:
        with _without_garbage_collection():
            return json.loads(path.read_bytes())
    except (RecursionError, ValueError) as error:
        raise ValueError(
            f"the file of the {name}, {path}, is no JSON: {error}"
        ) from error


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Spare the search for cycles among new dictionaries: half of a parser's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def column(
    records: Sequence[Record], key: str, what: str, default: Any = _REQUIRED
) -> list[Any]:
    """Return one field of all records.

    Args:
        records: dictionaries.
        key: name of the field.
        what: what a record is called in messages.
        default: taken where the field is missing.

    Raises:
        ValueError: a record has no such field and there is no default.
    """
    try:
        if default is _REQUIRED:
            return [record[key] for record in records]
        return [record.get(key, default) for record in records]
    except (AttributeError, KeyError, TypeError):
        if not isinstance(records, Sequence):
            raise ValueError(
                f"expected a list of {what}s, got {describe(records)}"
            ) from None
        for i, record in enumerate(records):
            if not isinstance(record, Mapping):
                raise ValueError(f"{what} {i} is no dictionary: {record!r}") from None
            if key not in record:
                raise ValueError(
                    f"{what} {i} has no {key!r}: {short(record)}"
                ) from None
        raise


def unique_ids(ids: list[Any], what: str) -> list[Any]:
    """Return ids as they are.

    Raises:
        ValueError: an id occurs twice, or is neither a number nor a string.
    """
    try:
        if len(set(ids)) == len(ids):
            return ids
    except TypeError:
        raise ValueError(f"every {what} id must be an integer or a string") from None
    seen: set[Any] = set()
    double = next(i for i in ids if i in seen or seen.add(i))
    raise ValueError(f"{what} id {double!r} occurs twice")


def sorted_ids(ids: list[Any], what: str) -> list[Any]:
    """Return ids sorted.

    Raises:
        ValueError: an id occurs twice, or ids of several types cannot be compared.
    """
    try:
        return sorted(unique_ids(ids, what))
    except TypeError:
        raise ValueError(f"{what} ids must all be integers, or all strings") from None


def look_up(
    values: list[Any], known: list[Any], what: str, kind: str, where: str
) -> np.ndarray:
    """Return the place of every value in a list of different ones.

    Raises:
        ValueError: a value is not there.
    """
    index = {value: i for i, value in enumerate(known)}
    try:
        return np.array([index[value] for value in values], dtype=np.int64)
    except (KeyError, TypeError):
        unknown = [i for i, value in enumerate(values) if not _is_key(value, index)]
    some = ", ".join(map(repr, known[:5])) + (", ..." if len(known) > 5 else "")
    raise ValueError(
        f"{what} {unknown[0]} belongs to {kind} {values[unknown[0]]!r}, which {where} "
        f"does not have ({len(unknown)} such {what}s; it has {some or 'none'})"
    )


def boxes(records: Sequence[Record], what: str) -> np.ndarray:
    """Return the field ``bbox``, ``(N, 4)`` float64 (x, y, width, height).

    Raises:
        ValueError: one is missing, has not 4 finite numbers, or a negative side.
    """
    values = column(records, "bbox", what)
    if not values:
        return np.zeros((0, 4))
    try:
        result = np.array(values, dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        result = np.zeros(0)
    if result.shape != (len(values), 4):
        wrong = [i for i, value in enumerate(values) if not is_box(value)]
        first = wrong[0]
        raise ValueError(
            f"the bbox of {what} {first} must be 4 numbers, got {values[first]!r} "
            f"({len(wrong)} such)"
        )
    refuse(~np.isfinite(result).all(1), records, what, "a bbox that is not finite")
    refuse((result[:, 2:] < 0).any(1), records, what, "a bbox with a negative side")
    return result


def numbers(
    records: Sequence[Record], key: str, what: str, otherwise: np.ndarray | None = None
) -> np.ndarray:
    """Return a field of numbers, ``(N,)`` float64.

    Args:
        records: dictionaries.
        key: name of the field.
        what: what a record is called in messages.
        otherwise: ``(N,)`` values where the field is missing or null; ``None``: the
            field must be there.

    Raises:
        ValueError: a value is missing, no number, or not finite.
    """
    if otherwise is None:
        given = column(records, key, what)
    else:
        given = [
            fallback if value is None else value
            for value, fallback in zip(
                column(records, key, what, None), otherwise.tolist(), strict=True
            )
        ]
    try:
        result = np.array(given, dtype=np.float64).reshape(len(given))
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"the {key} of every {what} must be a number") from None
    refuse(~np.isfinite(result), records, what, f"a {key} that is not finite")
    return result


def flags(records: Sequence[Record], key: str, what: str) -> np.ndarray:
    """Return whether a field is there and true, ``(N,)`` bool."""
    values = column(records, key, what, False)
    return np.array([bool(value) for value in values], dtype=bool)


def refuse(wrong: np.ndarray, records: Sequence[Record], what: str, fault: str) -> None:
    """Raise ValueError if any record is wrong, and show the first."""
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"{what} {first} has {fault} ({wrong.sum()} such): {short(records[first])}"
        )


def describe(data: Any) -> str:
    """Say in words what kind of value was given."""
    if isinstance(data, Mapping):
        return f"a dictionary with {sorted(map(str, data))[:6]}"
    return f"a {type(data).__name__}"


def short(record: Record) -> str:
    """Show a record, its end cut off."""
    text = repr(dict(record))
    return text if len(text) < 200 else f"{text[:200]}..."


def _is_key(value: Any, index: Mapping[Any, int]) -> bool:
    try:
        return value in index
    except TypeError:
        return False


def is_box(value: Any) -> bool:
    """Say whether this is a list of four numbers."""
    try:
        return np.array(value, dtype=np.float64).shape == (4,)
    except (OverflowError, TypeError, ValueError):
        return False
