"""The README and all pages: links, lengths, and configs that work as pasted."""

import re
from pathlib import Path

import pytest
from mmdet.utils import register_all_modules
from mmengine.config import Config

import fpn_necks.necks
from fpn_necks.config_tools import build_without_weights
from tests.docs.code_blocks import Block, blocks_of, pages

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONFIGS = [block for block in blocks_of(README) if block.language == "python"]
# What each config of the README builds: detector, necks.
BUILT = [
    ("RetinaNet", ["SAlphaFPN"]),
    ("RetinaNet", ["CFGFPN"]),
    ("FasterRCNN", ["FPN", "ASFF"]),
    ("AuxiliaryFasterRCNN", ["AugFPN"]),
    ("AuxiliaryRetinaNet", ["AugFPN"]),
    ("FasterRCNN", ["DRFPN"]),
    ("AuxiliaryRetinaNet", ["FPN"]),
]


def words(page: Path) -> int:
    return len(page.read_text(encoding="utf-8").split())


def test_pages_are_short() -> None:
    assert words(README) <= 700
    assert sum(words(page) for page in pages()) <= 26_000


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in link or (page.parent / link).exists(), link
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    assert not re.search(r"\b[A-Z]+_[A-Z_]+\b|TODO|FIXME", prose), "a placeholder"


@pytest.mark.parametrize(
    ("block", "detector", "necks"),
    [(block, *built) for block, built in zip(CONFIGS, BUILT, strict=True)],
    ids=str,
)
def test_configs_work_as_pasted(
    block: Block, detector: str, necks: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "my_config.py"
    path.write_text(block.source)
    register_all_modules()
    model = build_without_weights(Config.fromfile(path).model)
    assert type(model).__name__ == detector
    stages = model.neck if len(necks) > 1 else [model.neck]
    assert [type(stage).__name__ for stage in stages] == necks
    if detector == "AuxiliaryFasterRCNN":
        extractor = model.roi_head.bbox_roi_extractor
        assert type(extractor).__name__ == "SoftRoIExtractor"
        assert extractor.roi_layers[0].sampling_ratio == 2


def test_table_lists_every_neck() -> None:
    rows = re.findall(r"^\| \[(.*?)\]", README.read_text(), re.MULTILINE)
    labels = {re.sub("[- ]", "", row).replace("Sα", "SAlpha") for row in rows}
    assert labels == {*fpn_necks.necks.__all__, "Auxiliarylosses"} - {"PyramidNeck"}
