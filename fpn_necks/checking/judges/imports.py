"""Is fpn_necks imported where its types are named? Do other imports work?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mmdet.registry
from mmengine.registry import Registry

from ..config_keys import value_at, walk
from ..detectors import Detector
from ..findings import Finding

PACKAGE = "fpn_necks"


def judge_imports(detector: Detector) -> list[Finding]:
    """Judge ``custom_imports``."""
    findings = [
        Finding(
            "error",
            "custom_imports.imports",
            f"{name} cannot be imported: {reason}",
            "install it, or add its folder to PYTHONPATH, or remove it from the list",
        )
        for name, reason in detector.failed_imports.items()
    ]
    ours = list(_own_types(detector.config))
    names = import_names(detector.config)
    if not ours or any(name.split(".")[0] == PACKAGE for name in names):
        return findings
    key, name = ours[0]
    also = f" (and {len(ours) - 1} more of ours)" if len(ours) > 1 else ""
    others = f" unless {' or '.join(names)} imports it" if names else ""
    findings.append(
        Finding(
            "warning" if names else "error",
            "custom_imports",
            f"{key} is {name}{also}, of fpn_necks, which the config does not import: "
            f'mmdet will say that it is "not in the registry"{others}',
            "write it into the config file; on the command line it comes too late",
            {
                "custom_imports": dict(
                    imports=[PACKAGE, *names], allow_failed_imports=False
                )
            },
        )
    )
    return findings


def import_names(config: Mapping[str, Any]) -> list[str]:
    """Return the modules that the config's ``custom_imports`` name."""
    imports = value_at(config, "custom_imports.imports") or []
    return [imports] if isinstance(imports, str) else list(imports)


def _own_types(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    registries = [r for r in vars(mmdet.registry).values() if isinstance(r, Registry)]
    own = {
        name
        for registry in registries
        for name, kind in registry.module_dict.items()
        if kind.__module__.split(".")[0] == PACKAGE
    }
    for key, node in walk(config):
        kind = node.get("type")
        # A class in the place of its name (configs of the new style) was imported.
        if isinstance(kind, str) and kind.split(".")[-1] in own:
            yield f"{key}.type" if key else "type", kind
