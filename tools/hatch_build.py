"""Adds the configs to the wheel, where mim and `fpn-necks configs` look for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MimFolderHook(BuildHookInterface):
    """Puts ``configs/`` into ``fpn_necks/.mim`` of a wheel.

    A hook and not a table in pyproject.toml, since an editable installation must not
    get a copy: it would grow stale, while the clone's own folder is at hand.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add.

        Args:
            version: ``standard`` or ``editable``.
            build_data: What hatchling builds the wheel from; changed in place.
        """
        if version != "standard":
            return
        configs = Path(self.root) / "configs"
        added = {configs: "configs", configs / "model-index.yml": "model-index.yml"}
        for path, target in added.items():
            if path.exists():
                build_data["force_include"][str(path)] = f"fpn_necks/.mim/{target}"
