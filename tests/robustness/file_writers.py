"""The command lines that write a file for the user, by name, and what they read."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import cv2
import numpy as np

from fpn_necks.cli import main
from fpn_necks.statistics.estimate import FusionFactorEstimate
from tests.datasets.tiny_person.conftest import small_coco, write

TOOLS = Path(__file__).parents[2] / "tools"
TILES = dict(size=(64, 48), overlap=(20, 10))


def load_tool(name: str) -> ModuleType:
    """Import a command line by its path below tools, without ending."""
    path = TOOLS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"files_{path.stem}", path)
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool
    spec.loader.exec_module(tool)
    return tool


def make_inputs(folder: Path) -> None:
    """Write what the writers read, but for what they make."""
    coco = small_coco()
    write(folder / "in.json", coco)
    (folder / "images").mkdir()
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "images" / "a.png"), image)
    found = [dict(image_id=5, category_id=1, bbox=[9, 9, 8, 8], score=0.9)]
    (folder / "found.json").write_text(json.dumps(found))
    (folder / "scalars.json").write_text(json.dumps(dict(iter=1, loss=2.0)))


def _main(name: str, *words: object, **changes: Any) -> int:
    """Run a command line in this process with some of its names replaced."""
    tool = load_tool(name)
    for key, value in changes.items():
        assert hasattr(tool, key)
        setattr(tool, key, value)
    before = sys.argv
    sys.argv = [name, *map(str, words)]
    try:
        return tool.main()
    finally:
        sys.argv = before


def command(*words: object) -> int:
    """Run ``fpn-necks`` in this process."""
    return main([str(word) for word in words])


def _alpha(folder: Path) -> int:
    (folder / "config.py").write_text("model = dict()")
    counted = "fpn_necks.statistics.estimate_from_config"
    estimate = FusionFactorEstimate("objects", ["P2", "P3"], [4, 2], [0.5], 1, 6)
    with mock.patch(counted, lambda *_, **__: estimate):
        return command(
            "alpha", folder / "config.py", "--out", folder / "factors", "--force"
        )


COMMANDS: dict[str, tuple[str, Callable[[Path], int]]] = {
    "tile": (
        "out.json",
        lambda f: command(
            "tiny-person", "tile", f / "in.json", f / "out.json",
            "--size", 64, 48, "--overlap", 20, 10, "--force", "--no-progress",
        ),
    ),
    "erase": (
        "out.json",
        lambda f: command(
            "tiny-person", "erase", f / "in.json", f / "images",
            f / "erased", "--json", f / "out.json", "--force", "--resume",
            "--no-progress",
        ),
    ),
    "city-persons": (
        "out.json",
        lambda f: command(
            "tiny-person", "city-persons", f / "in.json", f / "images",
            f / "scaled", f / "out.json", "--force", "--resume", "--no-progress",
        ),
    ),
    "evaluate": (
        "out.json",
        lambda f: command(
            "tiny-person", "evaluate", "--gt", f / "in.json", "--detections",
            f / "found.json", "--json", f / "out.json", "--force",
        ),
    ),
    "synthesize": (
        "set/annotations/val.json",
        lambda f: command(
            "tiny-person", "synthesize", f / "set", "--num-train", 1, "--num-val", 1,
            "--image-size", 64, 64, "--size-range", 6, 20, "--overwrite",
            "--people-per-image", 1, 2, "--no-progress",
        ),
    ),
    "alpha": ("factors/fusion_factor.py", _alpha),
    "make_model_zoo": (
        "page.md",
        lambda f: _main(
            "make_model_zoo", "--page", f / "page.md",
            make_tables=lambda *_: "new", replace_tables=lambda old, new: old + new,
        ),
    ),
}  # fmt: skip
"""Command line -> its last file, and how to run it; what takes long is replaced."""
