"""Errors in one line, in the words of a config rather than of Python."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

OTHER_NAMES = {"highfpn": "augfpn", "alphafpn": "salphafpn", "srfpn": "drfpn"}
"""What the authors' code or a user may call a method -> what it is called here."""

FPN_ARGUMENTS = ("start_level", "end_level", "num_outs", "add_extra_convs")
SECOND_STAGE = (
    "it is a second stage: neck=[dict(type='FPN', ...), dict(type='ASFF', ...)]"
)

_UNKNOWN_TYPE = re.compile(r"([\w.]+) is not in the (\S+) registry")
_WRONG_ARGUMENT = re.compile(
    r"(\w+)\.__init__\(\) (got an unexpected keyword argument|missing \d+ required \S+ "
    r"arguments?:) (.*)"
)


def one_line(error: BaseException, parts: Iterable[Mapping[str, Any]] = ()) -> str:
    """Return what an error says, in one line.

    Args:
        error: anything that was raised.
        parts: the dicts of the config that was built (``config_tools.walk``): a wrong
            argument is told of the type that they name, and not of its base class.
    """
    is_key = isinstance(error, KeyError) and len(error.args) == 1
    text = str(error.args[0] if is_key else error)
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    text = text.split(", the current sys.path is")[0]  # of mmengine's custom_imports
    if unknown := _UNKNOWN_TYPE.search(text):
        name, registry = unknown.groups()
        hint = did_you_mean(name, _registered())
        hint = hint or "; the module that registers it belongs in custom_imports"
        return f"there is no type {name!r} in the {registry} registry{hint}"
    if wrong := _WRONG_ARGUMENT.search(text):
        names = re.findall(r"'(\w+)'", wrong[3])
        is_missing = wrong[2].startswith("missing")
        kind = _failed_type(parts, wrong[1], names[0], is_missing)
        owner = kind.__name__ if kind else wrong[1]
        if owner == "ASFF" and not is_missing and names[0] in FPN_ARGUMENTS:
            return f"ASFF takes no {names[0]!r}: {SECOND_STAGE}"
        if is_missing:
            return f"{owner} needs {' and '.join(names)}"
        hint = did_you_mean(names[0], arguments_of(kind) if kind else ())
        return f"{owner} takes no {names[0]!r}{hint}"
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"there is no file {error.filename}"
    if text and isinstance(error, OSError | ValueError | LookupError | RuntimeError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'X'?"`` for the most similar name, or nothing."""
    simple = {_simple(other): other for other in known}
    wanted = _simple(name.rpartition(".")[2])
    close = difflib.get_close_matches(OTHER_NAMES.get(wanted, wanted), simple, 1, 0.75)
    return f"; did you mean {simple[close[0]]!r}?" if close else ""


def arguments_of(kind: type) -> set[str] | None:
    """Return the names of a class's constructor arguments.

    Where a constructor passes on what it does not name (``**kwargs``), those of the
    next class count as well; ``None`` if the last of them takes any name.
    """
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
            names |= {p.name for p in parameters if "VAR" not in p.kind.name}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                return names
    return None


def _registered() -> list[str]:
    """Return the names in mmdet's registries and in mmengine's above them."""
    import mmdet.registry
    from mmengine.registry import Registry

    own = [x for x in vars(mmdet.registry).values() if isinstance(x, Registry)]
    registries = [*own, *(x.parent for x in own if x.parent)]
    return [name for registry in registries for name in registry.module_dict]


def _failed_type(
    parts: Iterable[Mapping[str, Any]], base: str, name: str, missing: bool
) -> type | None:
    """Return the type that a config names and whose base class refused an argument."""
    from mmdet.registry import MODELS

    for node in parts:
        kind = node.get("type")
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if inspect.isclass(kind) and base in {c.__name__ for c in kind.__mro__}:
            if missing != (name in node):
                return kind
    return None


def _simple(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
