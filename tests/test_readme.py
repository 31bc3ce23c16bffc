"""What the README says holds: its links, commands, config and table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config

import fpn_necks.necks
from fpn_necks.shipped_configs import config_path

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "configs").glob("*/README.md")),
]
README = PAGES[0].read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[list[str]]:
    joined = "\n".join(blocks(text, "bash")).replace("\\\n", " ")
    return [line.split("#")[0].split() for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    local = [link for link in links if "://" not in link]
    for link in local:
        assert (page.parent / link).exists(), link


def test_no_placeholder_is_left() -> None:
    for page in PAGES:
        text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
        assert not re.search(r"\b[A-Z]+_[A-Z_]+\b|TODO|FIXME", text), page


def test_commands_name_files_and_options_that_exist() -> None:
    found = commands(README)
    assert ["bash", "tools/demo.sh"] in found and ["bash", "tools/test.sh"] in found
    for words in found:
        script = words[1]
        if script == "-m":
            assert words[2] == "fpn_necks"
        elif "/mmdet/.mim/" not in script:
            assert (ROOT / script).is_file(), script
        for word in words[2:]:
            if word.startswith("configs/"):
                assert (ROOT / word).is_file(), word


def test_command_line_of_the_package(tmp_path: Path) -> None:
    for words in commands(README):
        if words[1:3] == ["-m", "fpn_necks"]:
            result = subprocess.run(
                [sys.executable, *words[1:]], cwd=tmp_path, capture_output=True
            )
            assert result.returncode == 0, words


def test_config_builds(tmp_path: Path) -> None:
    register_all_modules()
    block, composed = blocks(README, "python")
    path = tmp_path / "my_config.py"
    path.write_text(composed)
    model = MODELS.build(Config.fromfile(path).model)
    assert [type(stage).__name__ for stage in model.neck] == ["DRFPN", "ASFF"]
    extractor = model.roi_head.bbox_roi_extractor
    assert type(extractor).__name__ == "SoftRoIExtractor"
    path.write_text(block)
    model = MODELS.build(Config.fromfile(path).model)
    assert type(model.neck).__name__ == "SAlphaFPN"
    statistic = block.replace("fusion_factor=[0.4, 0.3]", 'fusion_factor="statistic"')
    path.write_text(f'{statistic}\ncustom_hooks = [dict(type="FusionFactorHook")]\n')
    assert not MODELS.build(Config.fromfile(path).model).neck.fusion_factor.is_set


def test_table_lists_every_neck() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| [")]
    labels = {row.split("]")[0][3:].replace("-", "").replace(" ", "") for row in rows}
    necks = set(fpn_necks.necks.__all__) - {"PyramidNeck"}
    expected = {neck.replace("SAlpha", "Sα") for neck in necks} | {"Auxiliarylosses"}
    assert labels == expected


S_ALPHA = (ROOT / "configs/s_alpha_fpn/README.md").read_text()
NAMES = dict(re.findall(r"`([A-Z])` is\s+`([^`]+)`", S_ALPHA))


def table_rows() -> list[tuple[str, str, str]]:
    section = S_ALPHA.split("## The paper's tables")[1]
    rows = re.findall(r"^\| (\d[^|]*) \| ([^|]+) \| ([^|]*)\|$", section, re.MULTILINE)
    assert len(rows) > 10
    return [tuple(cell.strip() for cell in row) for row in rows]


@pytest.mark.parametrize("row", table_rows(), ids=lambda row: row[0])
def test_rows_of_the_papers_tables_build(row: tuple[str, str, str]) -> None:
    register_all_modules()
    _, name, options = row
    name = name.strip("`")
    config = Config.fromfile(config_path(NAMES.get(name, name)))
    match = re.match(r"`([^`]*)`", options)
    words = match[1].split() if match else []
    from argparse import ArgumentParser

    from mmengine.config import DictAction

    parser = ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
    changes = parser.parse_args(["--cfg-options", *words] if words else [])
    config.merge_from_dict(changes.cfg_options)
    with torch.device("meta"):
        model = MODELS.build(config.model)
    if "=learnable" in options:
        shared = "learnable-shared" in options
        assert model.neck.fusion_factor.alpha.shape == (1 if shared else 3,)
    if "power_init" in options:
        assert model.neck.power_init == 0.5
