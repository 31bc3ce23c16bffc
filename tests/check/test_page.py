"""What docs/check_config.md shows is what its commands print."""

import re
import shlex
from pathlib import Path

import pytest

from fpn_necks.cli import main
from tests.docs.code_blocks import READERS_FILES, ROOT

PAGE = (ROOT / "docs" / "check_config.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[list[str]]:
    joined = "\n".join(blocks("bash")).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line.strip()]


def test_check_prints_what_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    (words,) = (words[1:] for words in commands() if "--cfg-options" in words)
    assert main(words) == 1
    output = capsys.readouterr().out
    shown = blocks("text")[0]
    place = re.compile(r"\((\S*)/_base_/models/retinanet_r50_fpn.py:(\d+)\)")
    assert place.search(output)[2] == place.search(shown)[2]
    assert place.sub("", shown) in place.sub("", output)


def test_warm_start_prints_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (words,) = (words for words in commands() if words[1] == "warm-start")
    config, checkpoint, out = words[2:]
    READERS_FILES[checkpoint](tmp_path / checkpoint)
    monkeypatch.chdir(tmp_path)
    assert main(["warm-start", str(ROOT / config), checkpoint, out]) == 0
    shown = blocks("text")[1].rstrip()
    assert capsys.readouterr().out.startswith(shown)
    assert (tmp_path / out).is_file()
