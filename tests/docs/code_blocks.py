"""The fenced blocks of the pages, and what a page's Python needs to run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import mmcv.ops
import mmdet.registry
import mmengine.registry
import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import Registry

from fpn_necks.check import check_config
from fpn_necks.config_tools import build_without_weights, type_name, walk
from fpn_necks.shipped_configs import config_path
from tests.tiny_detectors import load_config, shrink

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^(?P<indent>[ >]*)```(?P<language>[^`\n]*)\n(?P<source>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
# Right above a block: what is to be known of it, or which file of the reader's it is.
ABOVE = re.compile(
    r"(?:<!-- not run: (?P<not_run>.+) -->|<!-- onto: (?P<onto>.+) -->"
    r"|^`(?P<file>[\w./-]+\.py)`:)\s*\Z",
    re.MULTILINE,
)
REGISTRIES = [
    entry
    for module in (mmdet.registry, mmengine.registry)
    for entry in vars(module).values()
    if isinstance(entry, Registry)
]


def pages() -> list[Path]:
    """Return every page with blocks that are looked at; built sites are none."""
    found = [
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "configs").glob("*/README.md")),
    ]
    return [page for page in found if "_build" not in page.parts]


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file it stands in.
        line: number of the line that opens it, from 1.
        language: what stands behind the fence.
        source: what stands in it.
        not_run: why its Python is compiled only (``<!-- not run: reason -->`` above).
        onto: the shipped config that its settings belong to (``<!-- onto: NAME -->``).
        file: which file of the reader's it is, from a line ```` `NAME.py`: ```` above.
    """

    page: Path
    line: int
    language: str
    source: str
    not_run: str | None = None
    onto: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_config(self) -> bool:
        """Whether it is a config or a part of one: code imports something."""
        return not re.search(r"^(from|import) ", self.source, re.MULTILINE)

    @property
    def module(self) -> str:
        """The name by which the file is imported."""
        return (self.file or "").removesuffix(".py").replace("/", ".")


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, also those inside of lists."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        source = re.sub(f"^{match['indent']}", "", match["source"], flags=re.MULTILINE)
        above = ABOVE.search(text[: match.start()])
        marks = above.groupdict() if above else {}
        found.append(Block(page, line, match["language"].strip(), source, **marks))
    return found


def check_settings(block: Block, path: Path) -> None:
    """Write a config or a part of one to a path, resolve its types, check its detector.

    What mmengine and mmdet raise about a wrong config is not caught.
    """
    # What is no assignment: dict(type="ASFF", ...).
    is_bare = block.source.startswith("dict(")
    path.write_text("part = " * is_bare + block.source, encoding="utf-8")
    config = Config.fromfile(path)
    for name in {type_name(node) for _, node in walk(config)} - {""}:
        known = any(name in registry for registry in REGISTRIES)
        assert known or hasattr(mmcv.ops, name), f"no registry has the type {name!r}"
    if block.onto is not None:
        whole = Config.fromfile(config_path(block.onto))
        whole.merge_from_dict(config.to_dict())
        config = whole
    if "type" in config.get("model", {}):
        assert not [p for p in check_config(config) if p.level == "error"]


@contextmanager
def modules_taken_back(names: Collection[str]) -> Iterator[None]:
    """Forget modules that are imported here, and what they register."""
    try:
        yield
    finally:
        for registry in REGISTRIES:
            for name, item in list(registry.module_dict.items()):
                if getattr(item, "__module__", "").split(".")[0] in names:
                    del registry.module_dict[name]
        for name in list(sys.modules):
            if name.split(".")[0] in names:
                del sys.modules[name]


def write_readers_files(folder: Path, text: str) -> None:
    """Write what a page names and every reader has: a config, an image, ..."""
    for name, write in READERS_FILES.items():
        if f'"{name}"' in text:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write(folder / name)


def _small_config() -> Config:
    config = shrink(load_config("retinanet_r50_s-alpha-fpn_1x_coco"))
    config.model.neck.fusion_factor = 0.5
    config.custom_hooks = []
    return config


def _write_checkpoint(path: Path) -> None:
    model = MODELS.build(_small_config().model)
    meta = dict(dataset_meta=dict(classes=("square", "disc"), palette=[(0, 0, 0)] * 2))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)


def _write_image(path: Path) -> None:
    random = np.random.default_rng(0)
    cv2.imwrite(str(path), random.integers(0, 255, (96, 128, 3), dtype=np.uint8))


def _write_fpn_checkpoint(path: Path) -> None:
    config = load_config("faster-rcnn_r50_drfpn_3xb8-1x_coco")
    config.model.neck.type = "FPN"
    config.model.neck.pop("srb", None)  # of DRFPN
    state = build_without_weights(config.model).state_dict()
    # Zeros that share one number each: a file of a few kilobytes.
    zeros = {name: torch.zeros(()).expand(x.shape) for name, x in state.items()}
    torch.save(dict(state_dict=zeros), path)


BOX: dict[str, Any] = dict(id=1, image_id=1, category_id=1, bbox=[8, 8, 10, 10])
ANNOTATIONS = dict(
    images=[dict(id=1, file_name="1.png", width=64, height=64)],
    categories=[dict(id=1, name="person")],
    annotations=[dict(BOX, area=100)],
)
READERS_FILES = {
    "annotations.json": lambda path: path.write_text(json.dumps(ANNOTATIONS)),
    "results.json": lambda path: path.write_text(json.dumps([dict(BOX, score=0.9)])),
    "config.py": lambda path: _small_config().dump(path),
    "my_config.py": lambda path: _small_config().dump(path),
    "checkpoint.pth": _write_checkpoint,
    "my_checkpoint.pth": _write_checkpoint,
    "work_dirs/retinanet_r50_softmax-fpn_1x_coco/epoch_12.pth": _write_checkpoint,
    "beach.jpg": _write_image,
    "street.jpg": _write_image,
    "faster_rcnn_r50_fpn.pth": _write_fpn_checkpoint,
}
