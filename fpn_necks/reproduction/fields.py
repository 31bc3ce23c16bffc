"""Reads dataclasses from YAML; annotations say what a field must be."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml

from ..messages import did_you_mean

_T = TypeVar("_T")
_hints = functools.cache(functools.partial(get_type_hints, include_extras=True))


def read_record(cls: type[_T], content: Any, place: str) -> _T:
    """Make a record of a mapping; a ``ValueError`` names the place of what is wrong."""
    if not isinstance(content, dict):
        raise ValueError(f"{place}: fields are needed, not {content!r}")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for key in content.keys() - known.keys():
        hint = did_you_mean(str(key), known)
        raise ValueError(f"{place}, field '{key}': is unknown{hint}")
    hints, values = _hints(cls), {}
    for key, f in known.items():
        at = f"{place}, field '{key}'"
        if key in content:
            values[key] = read_value(content[key], hints[key], at)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"{at}: is missing")
    record = cls(**values)
    return record.checked(place) if hasattr(record, "checked") else record


def read_value(value: Any, hint: Any, place: str) -> Any:
    """Check a value of a field by its annotation."""
    if type(None) in get_args(hint):
        if value is None:
            return None
        hint = get_args(hint)[0]
    rule = get_args(hint) if get_origin(hint) is Literal else None
    if get_origin(hint) is Annotated:
        hint, rule = get_args(hint)
    kind = get_origin(hint)
    if is_dataclass(hint):
        return read_record(hint, value, place)
    if kind is tuple and rule:
        return _read_records(get_args(hint)[0], rule, value, place)
    if kind in (tuple, Mapping):
        wanted = list if kind is tuple else dict
        if not isinstance(value, wanted):
            raise ValueError(f"{place}: a {wanted.__name__} is needed, not {value!r}")
        return kind(value) if kind is tuple else value
    if isinstance(rule, tuple) and value not in rule:
        raise ValueError(f"{place}: {value!r} is not one of {', '.join(rule)}")
    if not isinstance(value, str):
        raise ValueError(f"{place}: {value!r} is no text; quote it if it should be")
    if isinstance(rule, str) and not re.fullmatch(rule, value):
        raise ValueError(f"{place}: '{value}' does not match {rule}")
    return value


def _read_records(cls: type[_T], key: str, items: Any, place: str) -> tuple[_T, ...]:
    if not isinstance(items, list) or not items:
        raise ValueError(f"{place}: a list with entries is needed, not {items!r}")
    owner = place.rpartition(", field")[0]
    found: dict[str, _T] = {}
    for number, item in enumerate(items, 1):
        own = item.get("id", item.get("name")) if isinstance(item, dict) else None
        name = f"'{own}'" if own else number
        record = read_record(cls, item, f"{owner}, {cls.__name__.lower()} {name}")
        identity = getattr(record, key)
        if not identity:
            raise ValueError(f"{place}: {name} needs a letter or digit")
        if identity in found:
            raise ValueError(f"{place}: two have the {key} '{identity}'")
        found[identity] = record
    return tuple(found.values())


class StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader (in C, 5 times as fast), made to refuse equal keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        """Refuse a key that stands twice; what is merged by << may be overridden."""
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in own]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)
