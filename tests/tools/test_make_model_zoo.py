"""The command line of tools/make_model_zoo.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from fpn_necks.reproduction.model_zoo import BEGIN, END

TOOL = Path(__file__).parents[2] / "tools" / "make_model_zoo.py"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool, with tables that take no time; the real ones have their own test."""
    spec = importlib.util.spec_from_file_location("make_model_zoo_tool", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "make_tables", lambda papers, say: "| new |")
    return module


def test_writes_checks_and_keeps_the_rest(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    page = tmp_path / "zoo.md"
    old = f"# Title\n\n{BEGIN}\n| old |\n{END}\n\nwords\n"
    page.write_text(old)
    assert tool.main(["--check", "--page", str(page)]) == 1
    assert "out of date" in capsys.readouterr().out
    assert page.read_text() == old
    assert tool.main(["--page", str(page)]) == 0
    assert page.read_text() == f"# Title\n\n{BEGIN}\n\n| new |\n\n{END}\n\nwords\n"
    assert tool.main(["--check", "--page", str(page)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["zoo.md"]


@pytest.mark.parametrize("content", [None, "no markers"])
def test_wrong_page_is_one_line(
    tool: ModuleType,
    content: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    page = tmp_path / "zoo.md"
    if content is not None:
        page.write_text(content)
    assert tool.main(["--page", str(page)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1
