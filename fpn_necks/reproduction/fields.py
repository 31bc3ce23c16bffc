"""Reading checked dataclasses from YAML: each field says how it is read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

import yaml

_T = TypeVar("_T")
_Read = Callable[[Any, str], Any]  # checks a value; the text is its place, for errors


def checked(read: _Read, **default: Any) -> Any:
    """Return a dataclass field with the check that it is read by."""
    return field(metadata={"read": read}, **default)


def text(pattern: str | None = None, nullable: bool = False) -> _Read:
    """Return the reader of one line of text that matches a pattern, or of null."""

    def read(value: Any, place: str) -> str | None:
        if nullable and value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{place}: {value!r} is no text; quote it if it should be")
        if value != " ".join(value.split()):
            raise ValueError(f"{place}: one line without double spaces is needed")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise ValueError(f"{place}: '{value}' does not match {pattern}")
        return value

    return read


CONFIG = text(r"(mmdet::)?[a-z0-9_+-]+/[a-z0-9_.+-]+(?<!.py)")


def choice(*allowed: str) -> _Read:
    """Return the reader of one of several words."""

    def read(value: Any, place: str) -> str:
        if value not in allowed:
            raise ValueError(f"{place}: {value!r} is not one of {', '.join(allowed)}")
        return value

    return read


def mapping(value: Any, place: str) -> dict[Any, Any]:
    """Read names and values."""
    if not isinstance(value, dict):
        raise ValueError(f"{place}: names and values are needed, not {value!r}")
    return value


def options(value: Any, place: str) -> dict[str, Any]:
    """Read values by dotted key of a config."""
    for key in mapping(value, place):
        if not isinstance(key, str) or not re.fullmatch(r"\w+(\.\w+)*", key):
            raise ValueError(f"{place}: {key!r} is no dotted key of a config")
    return value


def names(value: Any, place: str) -> tuple[str, ...]:
    """Read a list."""
    if not isinstance(value, list):
        raise ValueError(f"{place}: a list is needed, not {value!r}")
    return tuple(value)


def records(
    cls: Callable[[], type], key: str, slug: Callable[[str], str] = str
) -> _Read:
    """Return the reader of a list of records whose ``key`` differs."""

    def read(items: Any, place: str) -> tuple[Any, ...]:
        if not isinstance(items, list) or not items:
            raise ValueError(f"{place}: a list with entries is needed, not {items!r}")
        owner, _, word = place.rstrip("s'").rpartition(", field '")
        seen: set[str] = set()
        found = []
        for number, item in enumerate(items, 1):
            at = f"{owner}, {word} {number}"
            name = text()(_take(item, key, at), f"{at}, field '{key}'")
            if not slug(name):
                raise ValueError(f"{at}, field '{key}': needs a letter or digit")
            if slug(name) in seen:
                raise ValueError(f"{place}: two have the {key} '{slug(name)}'")
            seen.add(slug(name))
            at = at if word == "metric" else f"{owner}, {word} '{name}'"
            found.append(read_record(cls(), item, at))
        return tuple(found)

    return read


def _take(content: Any, key: str, place: str) -> Any:
    if not isinstance(content, dict):
        raise ValueError(f"{place}: fields are needed, not {content!r}")
    if key not in content:
        raise ValueError(f"{place}, field '{key}': is missing")
    return content[key]


def read_record(cls: type[_T], content: Any, place: str) -> _T:
    """Make a dataclass of a mapping, each field read as its declaration says."""
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    if not isinstance(content, dict):
        raise ValueError(f"{place}: fields are needed, not {content!r}")
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"{place}, field '{key}': is unknown{hint}")
    values = {}
    for key, f in known.items():
        optional = f.default is not MISSING or f.default_factory is not MISSING
        if key in content or not optional:
            value = _take(content, key, place)
            values[key] = f.metadata["read"](value, f"{place}, field '{key}'")
    record = cls(**values)
    check = getattr(record, "_checked", None)
    return check(place, content) if check else record


class StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, which takes the last of two equal keys, made to refuse.

    The one in C, if PyYAML was built with it, reads the shipped tables 5 times as fast.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        """Refuse a key that stands twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<, which may be overridden
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
