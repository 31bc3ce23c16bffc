"""docs/model_zoo.md: what is counted, what is quoted, and that the page is current."""

from __future__ import annotations

import re
from pathlib import Path

import make_model_zoo as zoo
import pytest

from fpn_necks.reproduction import load_papers, load_tables
from fpn_necks.shipped_configs import configs_folder, list_configs
from tests.tiny_detectors import load_config

PAGE = Path(__file__).parents[2] / "docs" / "model_zoo.md"
CONFIGS = list_configs()
# One stage, two stages with Soft-RoI and auxiliary losses, YOLOv3, tiles, a dilated
# backbone, sizes by a factor or none, a schedule in steps.
CHECKED = (
    "asff/yolov3_d53_asff_4xb16-300e_coco.py",
    "auxiliary/faster-rcnn_r101-caffe-dc5_auxiliary_1x_coco.py",
    "augfpn/mask-rcnn_r50_augfpn_1x_coco.py",
    "drfpn/retinanet_r50_drfpn_3xb8-1x_coco.py",
    "s_alpha_fpn/faster-rcnn_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson.py",
    "s_alpha_fpn/retinanet_r50_s-alpha-fpn_1xb2-1x_tinycitypersons.py",
    "s_alpha_fpn/retinanet_r50_s-alpha-fpn_8xb4-sm-45k_coco.py",
)


def rows_of_the_page() -> dict[str, tuple[str, ...]]:
    """Return the cells of each config's row by the config's path."""
    rows = {}
    for line in PAGE.read_text().splitlines():
        link = re.match(r"\| \[[^]]+\]\(\.\./configs/([^)]+)\)", line)
        if link:
            cells = tuple(cell.strip() for cell in line.strip("| ").split(" | "))
            assert len(cells) == len(zoo.HEADER), line
            assert link[1] not in rows
            rows[link[1]] = cells
    return rows


ROWS = rows_of_the_page()


def test_page_has_a_row_for_every_config_and_no_other() -> None:
    assert sorted(ROWS) == CONFIGS


@pytest.mark.parametrize("name", CHECKED)
def test_row_is_up_to_date(name: str) -> None:
    recipes = zoo.read_recipes(configs_folder() / Path(name).parent)
    row = zoo.make_row(name, recipes[Path(name).stem], load_papers())
    assert row == ROWS[name]


@pytest.mark.long  # counts all of them: about a minute
def test_page_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert zoo.replace_tables(page, zoo.make_tables(load_papers())) == page


def test_options_that_change_something_are_no_match() -> None:
    table = load_tables()["asff-table-5"]
    name = "asff/retinanet_r50_asff_1x_coco"
    config = load_config(f"{name}.py")
    matching = [row.name for row in table.rows if zoo.is_trained_by(row, name, config)]
    assert matching == ["R50-FPN + ASFF"]
    config.model.backbone.depth = 101
    config.model.backbone.init_cfg.checkpoint = "torchvision://resnet101"
    assert zoo.is_trained_by(table.find_row("R101-FPN + ASFF"), name, config)


def test_tables_are_replaced_and_the_rest_stays() -> None:
    page = f"# Title\n\n{zoo.BEGIN}\n| old |\n{zoo.END}\n\nwords\n"
    new = zoo.replace_tables(page, "| new |")
    assert new == f"# Title\n\n{zoo.BEGIN}\n\n| new |\n\n{zoo.END}\n\nwords\n"


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(ValueError, match="'VGG'"):
        zoo.describe_backbone(dict(type="VGG"))
