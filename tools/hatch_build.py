"""Adds the configs and the command lines to the wheel, where mim looks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MimFolderHook(BuildHookInterface):
    """Puts ``configs/`` and ``tools/`` into ``fpn_necks/.mim`` of a wheel.

    A hook and not a table in pyproject.toml, since an editable installation must not
    get a copy: it would grow stale, while the clone's own folders are at hand.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add.

        Args:
            version: ``standard`` or ``editable``.
            build_data: What hatchling builds the wheel from; changed in place.
        """
        if version != "standard":
            return
        root = Path(self.root)
        added = {
            root / "configs": "configs",
            root / "configs" / "model-index.yml": "model-index.yml",
        }
        # The shell scripts and these files are for a clone, not for an installation:
        # what they write belongs to the clone's pages.
        for path in (root / "tools").rglob("*.py"):
            if path.name not in (Path(__file__).name, "make_model_zoo.py", "study.py"):
                added[path] = path.relative_to(root).as_posix()
        for path, target in added.items():
            if path.exists():
                build_data["force_include"][str(path)] = f"fpn_necks/.mim/{target}"
