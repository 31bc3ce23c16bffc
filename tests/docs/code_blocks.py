"""The fenced blocks of the pages: found, told apart and run."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import mmcv.ops
import mmdet.registry
import mmengine.registry
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import Registry

from fpn_necks.check import check_config
from fpn_necks.config_tools import build_without_weights
from fpn_necks.shipped_configs import config_path
from tests.tiny_detectors import load_config, shrink

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent>[ >]*)(?P<fence>`{3,}|~{3,})(?P<language>[^`]*)$")
FILE = re.compile(r"`([\w./-]+\.py)`:")
MARKER = re.compile(r"<!--\s*(?P<kind>not run|onto):\s*(?P<value>.+?)\s*-->")


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
    def tree(self) -> ast.Module:
        """Its Python, compiled."""
        return ast.parse(self.source, filename=str(self))

    @property
    def is_settings(self) -> bool:
        """Whether it is a config or a part of one: assigned values and no code."""
        statements = self.tree.body
        return _names_base(statements) or all(
            isinstance(statement, ast.Assign | ast.Expr)
            and _is_plain_value(statement.value)
            for statement in statements
        )


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, also those inside of lists."""
    return list(_find_blocks(page, page.read_text().splitlines()))


def _find_blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    opened, start, content = None, 0, []
    for number, line in enumerate(lines, 1):
        match = FENCE.match(line)
        if opened is None:
            if match:
                opened, start, content = match, number, []
        elif match and _closes(match, opened):
            source = textwrap.dedent("\n".join(content)) + "\n"
            language = opened["language"].strip()
            yield Block(page, start, language, source, **_markers(lines[: start - 1]))
            opened = None
        else:
            content.append(line)
    if opened is not None:
        raise ValueError(f"{page.relative_to(ROOT)}:{start} is never closed")


def _closes(match: re.Match[str], opened: re.Match[str]) -> bool:
    same = match["fence"][0] == opened["fence"][0]
    long_enough = len(match["fence"]) >= len(opened["fence"])
    return same and long_enough and not match["language"].strip()


def _markers(above: list[str]) -> dict[str, str]:
    """Read what stands right above a fence: comments, and the name of a file."""
    found = {}
    for line in reversed(above):
        match = MARKER.fullmatch(line.strip())
        if match:
            found[match["kind"].replace(" ", "_")] = match["value"]
        elif line.strip():
            if name := FILE.fullmatch(line.strip()):
                found["file"] = name[1]
            break
    return found


def _names_base(statements: list[ast.stmt]) -> bool:
    return any(
        isinstance(statement, ast.Assign)
        and ast.unparse(statement.targets[0]) == "_base_"
        for statement in statements
    )


def _is_plain_value(node: ast.expr) -> bool:
    """Whether an expression is made of literals and calls of ``dict`` alone."""
    if isinstance(node, ast.Call):
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        is_dict = isinstance(node.func, ast.Name) and node.func.id == "dict"
        return is_dict and all(map(_is_plain_value, values))
    if isinstance(node, ast.List | ast.Tuple):
        return all(map(_is_plain_value, node.elts))
    if isinstance(node, ast.Dict):
        return all(map(_is_plain_value, filter(None, [*node.keys, *node.values])))
    if isinstance(node, ast.BinOp):
        return _is_plain_value(node.left) and _is_plain_value(node.right)
    if isinstance(node, ast.UnaryOp):
        return _is_plain_value(node.operand)
    # Config files of mmengine name values of their bases: {{_base_.model}}.
    return isinstance(node, ast.Constant | ast.Name)


# ---------------------------------------------------------------------- configs


def check_settings(block: Block, path: Path) -> None:
    """Read a config as mmengine does, resolve its types, check its detector.

    Args:
        block: one whose ``is_settings`` is true.
        path: to write the config to.

    Raises:
        LookupError: a type is not registered.
        ValueError: ``fpn-necks check`` finds an error in a whole config.
        Exception: what mmengine and mmdet raise about a wrong config.
    """
    register_all_modules()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.source)
    config = Config.fromfile(path)
    values = config.to_dict()
    bare = [s.value for s in block.tree.body if isinstance(s, ast.Expr)]
    # What is no assignment: dict(type="ASFF", ...), a part of a config.
    values["bare"] = [eval(ast.unparse(node), {"dict": dict}) for node in bare]
    for name in types_in(values):
        if not is_registered(name):
            raise LookupError(f"{block}: no registry has the type {name!r}")
    if block.onto is not None:
        whole = Config.fromfile(config_path(block.onto))
        whole.merge_from_dict(config.to_dict())
        config = whole
    if "type" in config.get("model", {}):
        found = check_config(config)
        errors = [str(f) for f in found if f.level == "error"]
        if errors:
            raise ValueError(f"{block}: " + "; ".join(errors))


def types_in(value: Any) -> set[str]:
    """Return the names behind ``type`` anywhere in nested settings."""
    if isinstance(value, list | tuple):
        return set().union(*map(types_in, value))
    if not isinstance(value, dict):
        return set()
    own = value.get("type")
    inner = set().union(*map(types_in, value.values()))
    return inner | {own} if isinstance(own, str) else inner


def is_registered(name: str) -> bool:
    """Whether a registry of mmdet or mmengine, or mmcv's operators, have a name."""
    bare = name.rsplit(".", 1)[-1]
    return any(name in r or bare in r.module_dict for r in _registries()) or hasattr(
        mmcv.ops, bare
    )


def _registries() -> list[Registry]:
    found = [*vars(mmdet.registry).values(), *vars(mmengine.registry).values()]
    return [entry for entry in found if isinstance(entry, Registry)]


# ------------------------------------------------------------------------- code


@dataclass
class PageRun:
    """The Python of one page, run in order with names and registered modules shared.

    What the code registers, and the page's own modules, exist while a block of its page
    runs, and no longer.

    Attributes:
        blocks: the blocks to run, in order.
        folder: where they run. The files that the page shows are there, and those
            that its code names and every reader has.
        names: what the code has defined so far.
        done: how many blocks of code have run.
    """

    blocks: list[Block]
    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    done: int = 0
    _registered: list[tuple[Registry, str, Any]] = field(default_factory=list)
    _imported: dict[str, ModuleType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for block in self.blocks:
            if block.file is not None:
                path = self.folder / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.source)

    def run_until(self, block: Block) -> None:
        """Run a block; before code, the page's code that has not run yet."""
        with self._modules_of_page():
            if block.is_settings:
                check_settings(block, self.folder / (block.file or "settings.py"))
            elif block.file is not None:
                name = block.file.removesuffix(".py").removesuffix("/__init__")
                importlib.import_module(name.replace("/", "."))
            else:
                code = [b for b in self.blocks if not (b.is_settings or b.file)]
                while self.done <= code.index(block):
                    self._execute(code[self.done])
                    self.done += 1

    def _execute(self, block: Block) -> None:
        provide_files(block, self.folder)
        source = block.source
        # The one thing in the pages that depends on the machine.
        if not torch.cuda.is_available():
            source = source.replace("cuda:0", "cpu")
        # Empty lines, so that a traceback has the numbers of the page's lines.
        source = "\n" * block.line + source
        exec(compile(source, str(block), "exec"), self.names)

    @contextmanager
    def _modules_of_page(self) -> Iterator[None]:
        files = [block.file for block in self.blocks if block.file]
        own = {re.split(r"[/.]", file)[0] for file in files} | {"page"}
        before = [(registry, set(registry.module_dict)) for registry in _registries()]
        for registry, name, module in self._registered:
            registry.module_dict[name] = module
        files_of_others = _pop_modules(own)
        sys.modules.update(self._imported)
        sys.path.insert(0, str(self.folder))
        try:
            yield
        finally:
            sys.path.remove(str(self.folder))
            self._imported = _pop_modules(own)
            sys.modules.update(files_of_others)
            self._registered = []
            for registry, known in before:
                for name in set(registry.module_dict) - known:
                    module = registry.module_dict[name]
                    # What an import of a library has registered stays.
                    if getattr(module, "__module__", "").split(".")[0] in own:
                        del registry.module_dict[name]
                        self._registered.append((registry, name, module))


def _pop_modules(roots: set[str]) -> dict[str, ModuleType]:
    """Take modules, and those within them, out of what is imported."""
    names = [name for name in sys.modules if name.split(".")[0] in roots]
    return {name: sys.modules.pop(name) for name in names}


def provide_files(block: Block, folder: Path) -> None:
    """Make the files that code names and every reader has: a config, an image, ...

    Args:
        block: what names them, in strings of its own.
        folder: they are written to it, unless they are there.
    """
    strings = {
        node.value
        for node in ast.walk(block.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for name in strings:
        write = READERS_FILES.get(name)
        if re.fullmatch(r"work_dirs/[\w./-]+\.pth", name):
            write = _write_checkpoint
        if write is not None and not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write(folder / name)


def _small_config() -> Config:
    config = shrink(load_config("retinanet_r50_s-alpha-fpn_1x_coco"))
    config.model.neck.fusion_factor = 0.5
    config.custom_hooks = []
    return config


def _write_config(path: Path) -> None:
    path.write_text(_small_config().pretty_text)


def _write_checkpoint(path: Path) -> None:
    register_all_modules()
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


def _write_annotations(path: Path) -> None:
    images = [dict(id=1, file_name="1.png", width=64, height=64)]
    categories = [dict(id=1, name="person")]
    box = dict(id=1, image_id=1, category_id=1, bbox=[8, 8, 10, 10], area=100)
    path.write_text(
        json.dumps(dict(images=images, annotations=[box], categories=categories))
    )


def _write_results(path: Path) -> None:
    found = dict(image_id=1, category_id=1, bbox=[8, 8, 10, 10], score=0.9)
    path.write_text(json.dumps([found]))


READERS_FILES = {
    "annotations.json": _write_annotations,
    "results.json": _write_results,
    "config.py": _write_config,
    "my_config.py": _write_config,
    "checkpoint.pth": _write_checkpoint,
    "my_checkpoint.pth": _write_checkpoint,
    "beach.jpg": _write_image,
    "street.jpg": _write_image,
    "faster_rcnn_r50_fpn.pth": _write_fpn_checkpoint,
}
