"""Every fenced block of the pages: code runs, configs build, command lines are read.

Python that cannot run in seconds has a comment ``<!-- not run: reason -->`` above its
fence; it is compiled. A part of a config may say with ``<!-- onto: NAME -->`` which
shipped config it belongs to, and is built with it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.docs.code_blocks import (
    ROOT,
    Block,
    PageRun,
    blocks_of,
    pages,
)
from tests.docs.command_lines import WrongCommand, check_command, commands_in

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
LANGUAGES = {"bash", "console", "json", "python", "text", "yaml"}
# The site's own: tables of contents, included files, the reference from docstrings.
DIRECTIVE = re.compile(r"\{[\w:-]+\}.*")
MOST_NOT_RUN = 5


def of_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_names_its_language(block: Block) -> None:
    known = block.language in LANGUAGES or DIRECTIVE.fullmatch(block.language)
    assert known, f"{block} has the language {block.language!r}"
    if block.language.startswith("{include}"):
        assert (block.page.parent / block.language.split()[1]).is_file()
    elif not block.language.startswith("{"):
        assert block.source.strip(), f"{block} is empty"


def test_pages_have_the_blocks_that_are_known_of() -> None:
    """The finding of blocks itself: a page without any would pass every test."""
    assert len(BLOCKS) > 50
    readme = [block for block in BLOCKS if block.page == ROOT / "README.md"]
    assert [block.language for block in readme].count("python") == 2
    for page in PAGES:
        fences = re.findall(r"^[ >]*(?:```|~~~)", page.read_text(), re.MULTILINE)
        own = [block for block in BLOCKS if block.page == page]
        inside = sum(
            len(re.findall(r"^[ >]*(?:```|~~~)", block.source, re.MULTILINE))
            for block in own
        )
        assert len(fences) == 2 * len(own) + inside, page


def test_few_blocks_are_not_run() -> None:
    not_run = [block for block in BLOCKS if block.not_run]
    assert len(not_run) <= MOST_NOT_RUN, [str(block) for block in not_run]
    assert all(block.language == "python" for block in not_run)
    for page in PAGES:
        # A marker somewhere else than above a fence would say nothing to anybody.
        markers = re.findall(r"<!--\s*(?:not run|onto):", page.read_text())
        own = [block for block in BLOCKS if block.page == page]
        assert len(markers) == sum(
            (block.not_run is not None) + (block.onto is not None) for block in own
        ), page


# ----------------------------------------------------------------------- Python

PYTHON = of_language("python")
RUNS: dict[Path, PageRun] = {}


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_runs(
    block: Block,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert block.tree.body, f"{block} has no code"
    if block.not_run:
        return
    if block.page not in RUNS:
        own = [b for b in PYTHON if b.page == block.page and not b.not_run]
        RUNS[block.page] = PageRun(own, tmp_path_factory.mktemp(block.page.stem))
    monkeypatch.chdir(RUNS[block.page].folder)
    RUNS[block.page].run_until(block)


# ---------------------------------------------------------------- command lines


def commands_before(block: Block) -> list[str]:
    """Return what the page's earlier blocks say, which may set variables."""
    own = [b for b in of_language("bash") if b.page == block.page]
    earlier = own[: own.index(block)] if block in own else []
    return [line for b in earlier for line in commands_in(b.source)]


@pytest.mark.parametrize("block", of_language("bash", "console"), ids=str)
def test_commands_are_understood(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    variables: dict[str, str] = {}
    files = {b.file for b in BLOCKS if b.page == block.page and b.file}
    for line in commands_before(block):
        if re.match(r"(export )?\w+=\S+$|\w+=\$\(", line):
            check_command(line, variables, files)
    lines = commands_in(block.source, console=block.language == "console")
    assert lines, f"{block} has no command"
    for line in lines:
        check_command(line, variables, files)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("python tools/no_such_tool.py", "no tools/no_such_tool.py"),
        ("python tools/study/study.py run --sedes 0", "unrecognized arguments"),
        ("fpn-necks visualize a.py b.pth c.jpg --what dreams", "is unknown"),
        ("fpn-necks warm-start a.py", "required"),
        ("fpn-necks reproduce show no-such-table", "status 2"),
        ("fpn-necks configs retinanet_r50_asf_1x_coco", "no shipped"),
        ("fpn-necks check no_such_config.py", "no config"),
        ("fpn-necks reproduce run $TABLE", "set nowhere"),
        ("python no/mmdetection/tools/trian.py", "no script"),
        ("bash tools/setup.sh --queit", "no option"),
        ("pip install '.[openmlab]'", "no extra"),
        ("mim trian mmdet", "no command"),
        ("frobnicate everything", "does not know"),
        (
            "python mmdetection/tools/train.py --cfg-options model.nek.type=FPN "
            "-- configs/asff/retinanet_r50_asff_1x_coco.py",
            "has no nek",
        ),
    ],
)
def test_wrong_commands_are_found(
    line: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WrongCommand, match=reason):
        check_command(line, {})
    capsys.readouterr()


# ------------------------------------------------------------------------- data


def test_data_can_be_read() -> None:
    for block in of_language("json", "yaml"):
        read = json.loads if block.language == "json" else yaml.safe_load
        assert read(block.source) is not None, block
