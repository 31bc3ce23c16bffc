"""Every fenced block of the pages: code runs, configs build, command lines are read.

Python that cannot run in seconds has a comment ``<!-- not run: reason -->`` above its
fence; it is compiled. A part of a config may say with ``<!-- onto: NAME -->`` which
shipped config it belongs to, and is built with it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.code_blocks import (
    Block,
    PageRun,
    blocks_of,
    pages,
)
from tests.docs.command_lines import WrongCommand, check_command, commands_in

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
LANGUAGES = {"bash", "bibtex", "python", "text"}
# The site's own: tables of contents, cards, the reference from docstrings.
DIRECTIVE = re.compile(r"\{[\w:-]+\}.*")
MOST_NOT_RUN = 3


def of_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def test_blocks_are_found_and_name_their_language() -> None:
    for page in PAGES:
        fences = re.findall(r"^[ >]*(?:```|~~~)", page.read_text(), re.MULTILINE)
        assert len(fences) == 2 * sum(block.page == page for block in BLOCKS), page
    for block in BLOCKS:
        assert block.language in LANGUAGES or DIRECTIVE.fullmatch(block.language), block


def test_few_blocks_are_not_run() -> None:
    assert sum(block.not_run is not None for block in BLOCKS) <= MOST_NOT_RUN
    # A marker somewhere else than above a fence would say nothing to anybody.
    markers = sum(
        len(re.findall(r"<!--\s*(?:not run|onto):", page.read_text())) for page in PAGES
    )
    used = [marker for block in BLOCKS for marker in (block.not_run, block.onto)]
    assert markers == len(used) - used.count(None)


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


@pytest.mark.parametrize("block", of_language("bash"), ids=str)
def test_commands_are_understood(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    variables: dict[str, str] = {}
    files = {b.file for b in BLOCKS if b.page == block.page and b.file}
    for line in commands_before(block):
        if re.match(r"(export )?\w+=\S+$|\w+=\$\(", line):
            check_command(line, variables, files)
    lines = commands_in(block.source)
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
