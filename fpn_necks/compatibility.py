"""Whether the installed libraries are ones that fpn_necks works with.

Asked by import, never by the names of distributions: a maintained fork of mmdet has
another distribution name and the same import name, and is as welcome.
"""

from __future__ import annotations

import importlib
import re

# Import name -> (first version that works, first one that is not known to, or None).
WANTED: dict[str, tuple[str, str | None]] = {
    "torch": ("2.1", None),
    "mmengine": ("0.10.0", "1"),
    "mmcv": ("2.1.0", "3"),
    "mmdet": ("3.3.0", "4"),
}

REMEDIES = {
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

    A text that begins with no number gives ``()``.
    """
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def wanted_range(package: str) -> str:
    """Return the versions wanted of a package as pip writes them."""
    oldest, limit = WANTED[package]
    return f">={oldest}" + (f",<{limit}" if limit else "")


def version_fault(package: str, version: str | None) -> str:
    """Say that one of ``WANTED`` is missing (None), too old or too new, or nothing."""
    oldest, limit = WANTED[package]
    if version is None:
        fault = "is not installed, or hidden by something else of that name"
    elif _padded(version) < _padded(oldest):
        fault = f"{version} is too old"
    elif limit is not None and _padded(version) >= _padded(limit):
        fault = f"{version} is too new"
    else:
        return ""
    return (
        f"{package} {fault} (wanted: {package}{wanted_range(package)}). "
        f"Remedy: {REMEDIES[package]}."
    )


def require_compatible_stack() -> None:
    """Import the libraries that fpn_necks stands on and check their versions.

    Raises:
        ImportError: With one line per package that is missing, too old, too new or
            that fails while it is imported, each with its remedy.
    """
    problems = []
    cause: Exception | None = None
    for package in WANTED:
        version = None
        try:
            # A folder that merely has the name has no version.
            module = importlib.import_module(package)
            version = getattr(module, "__version__", None)
        # A broken installation lacks a library (OSError, ImportError), has ops of
        # another torch (RuntimeError, AttributeError), or mmdet refuses mmcv's version.
        except Exception as error:
            cause = error
            if not (isinstance(error, ModuleNotFoundError) and error.name == package):
                problems.append(_failure(package, error))
                continue
        problems.append(version_fault(package, version))
    if any(problems):
        lines = "".join(f"\n  - {problem}" for problem in filter(None, problems))
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
