"""Every fenced block of the pages: code runs, configs build, command lines are read.

Python that cannot run in seconds has a comment ``<!-- not run: reason -->`` above its
fence; it is compiled. A part of a config may say with ``<!-- onto: NAME -->`` which
shipped config it belongs to, and is built with it.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import torch
from mmdet.utils import register_all_modules

from tests.docs.code_blocks import (
    ROOT,
    Block,
    blocks_of,
    check_settings,
    modules_taken_back,
    pages,
    write_readers_files,
)
from tests.docs.command_lines import check_command, commands_of

BLOCKS = {page: blocks_of(page) for page in pages()}
LANGUAGES = {"bash", "bibtex", "python", "text"}
# The site's own: tables of contents, cards, the reference from docstrings.
DIRECTIVE = re.compile(r"\{[\w:-]+\}.*")


def of_language(language: str) -> list:
    """Return pages and their blocks; the Chinese one's are those of the README."""
    return [
        pytest.param(own, id=str(page.relative_to(ROOT)))
        for page, blocks in BLOCKS.items()
        if (own := [b for b in blocks if b.language == language])
        and page.name != "README_zh-CN.md"
    ]


def test_blocks_are_found_and_name_their_language() -> None:
    for page, blocks in BLOCKS.items():
        fences = re.findall(r"^[ >]*(?:```|~~~)", page.read_text(), re.MULTILINE)
        assert len(fences) == 2 * len(blocks), page
        for block in blocks:
            known = block.language in LANGUAGES or DIRECTIVE.fullmatch(block.language)
            assert known and block.source.strip(), block


@pytest.mark.parametrize("blocks", of_language("python"))
def test_python_runs(
    blocks: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page's code runs in order, its names and registered modules shared."""
    register_all_modules()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_readers_files(tmp_path, blocks[0].page.read_text())
    for block in blocks:
        if block.file:
            (tmp_path / block.file).parent.mkdir(exist_ok=True)
            (tmp_path / block.file).write_text(block.source)
    names = {"__name__": "page"}
    with modules_taken_back({"page"} | {b.module.split(".")[0] for b in blocks} - {""}):
        for block in blocks:
            # Empty lines, so that a traceback has the numbers of the page's lines.
            source = "\n" * block.line + block.source
            # The one thing in the pages that depends on the machine.
            if not torch.cuda.is_available():
                source = source.replace("cuda:0", "cpu")
            code = compile(source, str(block), "exec")
            if block.not_run:
                continue
            if block.is_config:
                check_settings(block, tmp_path / (block.file or "settings.py"))
            elif block.file:
                importlib.import_module(block.module.removesuffix(".__init__"))
            else:
                exec(code, names)


@pytest.mark.parametrize("blocks", of_language("bash"))
def test_commands_are_understood(
    blocks: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {b.file for b in BLOCKS[blocks[0].page] if b.file}
    source = "\n".join(block.source for block in blocks)
    found = commands_of(source, tmp_path / "shell")
    assert found or "export " in source
    monkeypatch.chdir(ROOT)
    for words in found:
        check_command(words, files)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("python tools/no_such_tool.py", "no tools/no_such_tool.py"),
        ("python tools/study/study.py run --sedes 0", "unrecognized arguments"),
        ("fpn-necks visualize a.py b.pth c.jpg --what dreams", "is unknown"),
        ("fpn-necks configs retinanet_r50_asf_1x_coco", "no shipped"),
        ("fpn-necks reproduce run $TABLE", "unbound variable"),
        ("pip install '.[openmlab]'", "no extra"),
        ("frobnicate everything", "is no program"),
        (
            "python mmdet/.mim/tools/train.py --cfg-options model.nek.type=FPN "
            "-- configs/asff/retinanet_r50_asff_1x_coco.py",
            "has no model.nek",
        ),
    ],
)
def test_wrong_commands_are_found(
    line: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    line = line.replace("mmdet/", f"{tmp_path}/shell/mmdet/")
    with pytest.raises((Exception, SystemExit)) as error:
        for words in commands_of(line, tmp_path / "shell"):
            check_command(words)
    assert reason in str(error.value) + capsys.readouterr().err
