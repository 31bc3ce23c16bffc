"""Where the configs that come with fpn_necks lie, and which there are.

mmengine resolves ``library::config.py`` for a closed list of libraries that fpn_necks
is not on, so a config of one's own inherits ours by absolute path:

Example:
    >>> from fpn_necks.shipped_configs import config_path  # doctest: +SKIP
    >>> _base_ = str(config_path("s_alpha_fpn/my-base.py"))  # doctest: +SKIP
"""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath

from .messages import OTHER_NAMES


def configs_folder(package: Path | None = None) -> Path:
    """Return the folder of the shipped configs.

    Args:
        package: Folder of the fpn_necks package; default: this one.

    Raises:
        FileNotFoundError: If this installation has no configs.
    """
    package = package or Path(__file__).resolve().parent
    # A wheel carries them inside the package, a clone beside it.
    candidates = [package / ".mim" / "configs", package.parent / "configs"]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"no configs in {candidates[0]} or {candidates[1]}: this installation of "
        "fpn_necks is incomplete; install it again"
    )


def list_configs(folder: Path | None = None) -> list[str]:
    """Return the relative names of all configs, sorted, without ``_base_`` parts.

    Args:
        folder: Folder of the configs; default: the shipped one.
    """
    folder = folder or configs_folder()
    names = [path.relative_to(folder) for path in folder.rglob("*.py")]
    return sorted(
        name.as_posix()
        for name in names
        if not {"_base_", "__pycache__"} & set(name.parts)
    )


def config_path(name: str, folder: Path | None = None) -> Path:
    """Return the absolute path of a shipped config.

    Args:
        name: A file's stem (``retinanet_r50_asff_1x_coco``), its file name, or its path
            relative to the configs (``asff/retinanet_r50_asff_1x_coco.py``).
        folder: Folder of the configs; default: the shipped one.

    Raises:
        LookupError: If no config has that name, with the most similar ones, or if
            several have.
    """
    folder = folder or configs_folder()
    wanted = PurePosixPath(name.removesuffix(".py") + ".py")
    shipped = list_configs(folder)
    found = [x for x in shipped if f"/{x}".endswith(f"/{wanted}")]
    if len(found) == 1:
        return (folder / found[0]).resolve()
    if found:
        known = " or ".join(found)
        raise LookupError(f"several shipped configs are named {name!r}: {known}")
    stem = wanted.stem.lower()
    for theirs, ours in OTHER_NAMES.items():
        stem = stem.replace(theirs, ours)
    by_stem = {PurePosixPath(x).stem: x for x in shipped}
    similar = difflib.get_close_matches(stem, by_stem, n=3, cutoff=0.5)
    # A part of a name ("asff") is far from the whole name in difflib's measure.
    similar += sorted(other for other in by_stem if stem in other)
    known = " or ".join([by_stem[x] for x in dict.fromkeys(similar)][:3])
    hint = f"; did you mean {known}?" if known else ""
    raise LookupError(
        f"no shipped config is named {name!r}{hint} (`fpn-necks configs` lists all)"
    )
