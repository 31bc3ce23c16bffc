"""Whether the installed libraries are ones that fpn_necks works with.

Asked by import, never by the names of distributions: a maintained fork of mmdet has
another distribution name and the same import name, and is as welcome.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping

# Import name -> (first version that works, first one that is not known to, or None).
WANTED: dict[str, tuple[str, str | None]] = {
    "torch": ("2.1", None),
    "mmengine": ("0.10.0", "1"),
    "mmcv": ("2.1.0", "3"),
    "mmdet": ("3.3.0", "4"),
}

_REMEDIES = {
    "torch": (
        "install torch 2.1 or newer together with its torchvision; "
        "mmcv must then be compiled again"
    ),
    "mmengine": "pip install 'mmengine>=0.10.5,<1'",
    "mmcv": (
        "compile mmcv 2.1.0 against the installed torch; in a clone of fpn_necks "
        "`bash tools/setup.sh` does it"
    ),
    "mmdet": "pip install 'mmdet>=3.3.0,<4'",
}


def release(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``"2.11.0+cu130"`` is ``(2, 11, 0)``.

    A pre-release counts as its release: the fork's 3.4.0-rc is to pass for 3.4.0.

    Args:
        version: Any version text; one that begins with no number gives ``()``.
    """
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def wanted_range(package: str) -> str:
    """Return the versions wanted of a package as pip writes them."""
    oldest, limit = WANTED[package]
    return f">={oldest}" + (f",<{limit}" if limit else "")


def remedy_for(package: str) -> str:
    """Return what to do about a package that is missing or of a wrong version."""
    return _REMEDIES[package]


def check_versions(found: Mapping[str, str | None]) -> list[str]:
    """Compare versions with the wanted ones.

    Args:
        found: Import name -> version, None for a missing package. Packages that are
            not a key are not judged.

    Returns:
        One sentence per package that is missing, too old or too new.
    """
    problems = []
    for package, (oldest, limit) in WANTED.items():
        if package not in found:
            continue
        version = found[package]
        if version is None:
            fault = "is not installed"
        elif _padded(version) < _padded(oldest):
            fault = f"{version} is too old"
        elif limit is not None and _padded(version) >= _padded(limit):
            fault = f"{version} is too new"
        else:
            continue
        problems.append(
            f"{package} {fault} (wanted: {package}{wanted_range(package)}). "
            f"Remedy: {remedy_for(package)}."
        )
    return problems


def require_compatible_stack() -> None:
    """Import the libraries that fpn_necks stands on and check their versions.

    Raises:
        ImportError: With one line per package that is missing, too old, too new or
            that fails while it is imported, each with its remedy.
    """
    found: dict[str, str | None] = {}
    failures = []
    cause: Exception | None = None
    for package in WANTED:
        try:
            module = importlib.import_module(package)
        # A broken installation lacks a library (OSError, ImportError), has ops of
        # another torch (RuntimeError, AttributeError), or mmdet refuses mmcv's version.
        except Exception as error:
            cause = error
            if isinstance(error, ModuleNotFoundError) and error.name == package:
                found[package] = None
            else:
                failures.append(_failure(package, error))
            continue
        if hasattr(module, "__version__"):
            found[package] = str(module.__version__)
        else:
            # A folder without __init__.py has no __file__, only a __path__.
            places = [
                getattr(module, "__file__", None),
                *getattr(module, "__path__", []),
            ]
            place = next(filter(None, places), "nowhere")
            failures.append(
                f"{package} was imported from {place}, which is not the library: it "
                "has no __version__. Remedy: rename that folder, or leave the "
                "directory that holds it."
            )
    problems = check_versions(found) + failures
    if problems:
        lines = "".join(f"\n  - {problem}" for problem in problems)
        raise ImportError(
            f"fpn_necks cannot work with the installed libraries:{lines}\n"
            "More on what is wrong: python -m fpn_necks doctor"
        ) from cause


def _padded(version: str) -> tuple[int, ...]:
    # (2, 1) and (2, 1, 0) are the same version.
    return (*release(version), 0, 0, 0, 0)[:4]


def _failure(package: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if package == "mmdet" and isinstance(error, AssertionError):
        return f"mmdet refuses the libraries beside it: {text} Remedy: install those."
    return (
        f"{package} is installed but cannot be imported "
        f"({type(error).__name__}: {text}). Remedy: see the doctor."
    )
