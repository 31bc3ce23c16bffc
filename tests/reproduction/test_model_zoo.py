"""docs/model_zoo.md: what is counted, what is quoted, and that the page is current."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.utils import get_installed_path

from fpn_necks.reproduction import load_papers, load_tables
from fpn_necks.reproduction.detector_costs import count_costs, image_sizes
from fpn_necks.reproduction.model_zoo import (
    HEADER,
    KINDS,
    describe_backbone,
    describe_schedule,
    is_trained_by,
    make_row,
    make_tables,
    quote,
    read_kinds,
    replace_tables,
)
from fpn_necks.shipped_configs import configs_folder, list_configs
from tests.test_paper_pages import ROWS as README_ROWS
from tests.tiny_detectors import load_config

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "model_zoo.md"
CONFIGS = list_configs()
# One stage, two stages with Soft-RoI and auxiliary losses, YOLOv3, tiles.
CHECKED = (
    "asff/yolov3_d53_asff_4xb16-300e_coco.py",
    "augfpn/mask-rcnn_r50_augfpn_1x_coco.py",
    "drfpn/retinanet_r50_drfpn_3xb8-1x_coco.py",
    "s_alpha_fpn/faster-rcnn_r50_s-alpha-fpn-statistic_1xb2-1x_tinyperson.py",
)


def rows_of_the_page() -> dict[str, tuple[str, ...]]:
    """Return the cells of each config's row by the config's path."""
    rows = {}
    for line in PAGE.read_text().splitlines():
        link = re.match(r"\| \[[^]]+\]\(\.\./configs/([^)]+)\)", line)
        if link:
            cells = tuple(cell.strip() for cell in line.strip("| ").split(" | "))
            assert len(cells) == len(HEADER), line
            assert link[1] not in rows
            rows[link[1]] = cells
    return rows


ROWS = rows_of_the_page()


def theirs(name: str) -> Config:
    folder = Path(get_installed_path("mmdet")) / ".mim" / "configs"
    return Config.fromfile(folder / f"{name}.py")


# --------------------------------------------------------------------------- the page


def test_page_has_a_row_for_every_config_and_no_other() -> None:
    assert sorted(ROWS) == CONFIGS
    assert all(row[-1] == "not trained here" for row in ROWS.values())


@pytest.mark.parametrize("name", CHECKED)
def test_row_is_up_to_date(name: str) -> None:
    kinds = read_kinds(configs_folder() / Path(name).parent / "README.md")
    row, notes = make_row(name, kinds[Path(name).stem], load_papers())
    assert row == ROWS[name]
    for note in notes:
        assert f"- {note}" in PAGE.read_text().splitlines()


@pytest.mark.long  # counts all of them: about a minute
def test_page_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert replace_tables(page, make_tables(load_papers())) == page


def test_quoted_numbers_are_those_of_the_tables() -> None:
    """Both ways: nothing in the page that no table has, nothing left out."""
    found = set()
    for table in load_tables().values():
        for row in table.rows:
            name = f"{row.config}.py"
            # With options that the config has already, test_row_is_up_to_date decides.
            if name in ROWS and not row.options:
                text = quote(table, row)
                assert text is None or f"{text} (" in ROWS[name][8], row.name
                found.add((name, text))
    for name, cells in ROWS.items():
        for text in re.findall(r"((?:mask )?[AM][PR]\w* [^;()]+ on \S+) \(", cells[8]):
            assert (name, text) in found


def test_every_config_has_a_kind_in_its_readme() -> None:
    for folder in {Path(name).parent for name in CONFIGS}:
        kinds = read_kinds(configs_folder() / folder / "README.md")
        here = {Path(name).stem for name in CONFIGS if Path(name).parent == folder}
        assert set(kinds) == {name for name in here if "_demo_" not in name}
        assert set(kinds.values()) <= set(KINDS)
        for name, kind in kinds.items():
            assert ROWS[f"{folder}/{name}.py"][1] == kind


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as YAML has them, without those that say where files are."""
    files = ("work_dir", "load_from")
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in options.items()
        if key not in files
    }


def test_readmes_have_every_trainable_row_of_the_tables() -> None:
    """Baselines too, and with the same options."""
    listed = [(f"{row.folder}/{row.config}", plain(row.changes)) for row in README_ROWS]
    for table in load_tables().values():
        for row in table.rows:
            is_ours = row.config is not None and "::" not in row.config
            if is_ours and "figure" not in table.id:
                assert (row.config, plain(row.options)) in listed, (table.id, row.name)


def test_a_baseline_stands_above_the_rows_of_its_method() -> None:
    """Of a config with a backbone and schedule, the row without the idea is first."""
    removed = {
        "asff": "model.neck._delete_",
        "augfpn": "model.neck.type",
        "auxiliary": "model.auxiliary",
        "cfg_fpn": "model.neck.type",
        "drfpn": "model.neck.type",
    }
    for folder, key in removed.items():
        rows = [row for row in README_ROWS if row.folder == folder]
        baselines: dict[tuple, int] = {}
        for number, row in enumerate(rows):
            if key in row.changes:
                baselines.setdefault(_setting(row), number)
        checked = 0
        for number, row in enumerate(rows):
            if key in row.changes or not re.match(r"\d", row.label):
                continue
            # A config of its own, for auxiliary losses without uncertainty.
            if folder == "auxiliary" and not row.options and number > 0:
                assert key in rows[number - 1].changes or _setting(row) in baselines
                continue
            assert baselines[_setting(row)] < number, row
            checked += 1
        assert checked >= 2 or folder == "auxiliary"


def _setting(row: Any) -> tuple:
    """Return what a baseline shares with its method: config, backbone and schedule."""
    shared = ("model.backbone.", "train_cfg.", "param_scheduler.")
    return (
        row.config,
        *(f"{k}={v}" for k, v in row.changes.items() if k.startswith(shared)),
    )


# -------------------------------------------------------------------------- the costs


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        # What mmdet's get_flops prints at 800x1280 and papers quote: without frozen
        # parameters, with normalisation and activations, which are below 1 %.
        ("retinanet/retinanet_r50_fpn_1x_coco", 37.74, 239.32),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", 41.53, 207.07),
        ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco", 44.17, 260.14),
        ("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco", 69.17, 234.71),
    ],
)
def test_costs_of_known_detectors(
    name: str, parameters: float, multiply_adds: float
) -> None:
    cost = count_costs(theirs(name), [(800, 1280)])
    stem_and_first_stage = 0.225344
    assert cost.parameters / 1e6 == pytest.approx(
        parameters + stem_and_first_stage, abs=0.006
    )
    assert cost.training_parameters == 0
    counted = cost.multiply_adds[800, 1280] / 1e9
    assert 0.99 * multiply_adds < counted < multiply_adds


def test_sparse_rcnn_counts_its_stages() -> None:
    config = theirs("sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco")
    fewer = copy.deepcopy(config)
    head = fewer.model.roi_head
    head.num_stages, head.stage_loss_weights = 2, [1, 1]
    head.bbox_head = head.bbox_head[:2]
    six, two = (
        count_costs(c, [(64, 64)]).multiply_adds[64, 64] for c in (config, fewer)
    )
    # Per stage and proposal: the dynamic convs' parameters, the two products with 49
    # positions, their way out; attention over 100 proposals, the feed-forward network.
    dynamic = 256 * 2 * 256 * 64 + 2 * 49 * 256 * 64 + 49 * 256 * 256
    attention = 4 * 256 * 256 + 2 * 100 * 256
    network, towers = 2 * 256 * 2048, (1 + 3) * 256 * 256 + 256 * (80 + 4)
    assert six - two == 4 * 100 * (dynamic + attention + network + towers)


def test_auxiliary_losses_cost_parameters_in_training_alone() -> None:
    config = load_config("auxiliary/retinanet_r101_fpn_auxiliary_1x_coco.py")
    with_losses = count_costs(config, [(64, 64)])
    config.model.auxiliary = None
    without = count_costs(config, [(64, 64)])
    assert without.training_parameters == 0 < with_losses.training_parameters
    assert without.parameters == with_losses.parameters
    assert without.multiply_adds == with_losses.multiply_adds


def test_soft_roi_selection_counts_its_convs() -> None:
    config = load_config("augfpn/faster-rcnn_r50_augfpn_1x_coco.py")
    soft = count_costs(config, [(64, 64)]).multiply_adds[64, 64]
    config.model.roi_head.bbox_roi_extractor.type = "SingleRoIExtractor"
    single = count_costs(config, [(64, 64)]).multiply_adds[64, 64]
    squeeze, weigh = 4 * 256 * 256, 256 * 4 * 9  # of 4 levels, for 4 weights
    rois = config.model.test_cfg.rpn.max_per_img
    assert soft - single == rois * 49 * (squeeze + weigh)


def test_unknown_extractor_is_an_error_and_not_free() -> None:
    config = theirs("faster_rcnn/faster-rcnn_r50_fpn_1x_coco")
    config.model.roi_head.bbox_roi_extractor.type = "GenericRoIExtractor"
    with pytest.raises(TypeError, match="GenericRoIExtractor"):
        count_costs(config, [(64, 64)])


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("asff/yolov3_d53_asff_4xb16-300e_coco", [(608, 608), (416, 416)]),
        ("drfpn/retinanet_r50_drfpn_3xb8-1x_coco", [(800, 1344)]),
        ("s_alpha_fpn/retinanet_r50_fpn_1xb2-1x_tinyperson", [(512, 640)]),
        (
            "s_alpha_fpn/retinanet_r50_s-alpha-fpn_1xb2-1x_tinycitypersons",
            [(256, 512)],
        ),
        ("s_alpha_fpn/retinanet_r50_s-alpha-fpn_1xb2-1x_coco100", [(128, 192)]),
        ("s_alpha_fpn/retinanet_r50_s-alpha-fpn_8xb4-sm-45k_coco", [(128, 160)]),
    ],
)
def test_sizes(name: str, sizes: list[tuple[int, int]]) -> None:
    assert image_sizes(load_config(f"{name}.py")) == sizes


# -------------------------------------------------------------------------- the words


def test_backbones_and_schedules() -> None:
    config = load_config("cfg_fpn/cascade-mask-rcnn_x101-64x4d_cfg-fpn_ms-3x_coco.py")
    assert describe_backbone(config.model.backbone) == "ResNeXt-101-64x4d"
    assert describe_schedule(config) == "12 epochs of 3 passes, 16 images"
    config = load_config("auxiliary/faster-rcnn_r101-caffe-dc5_auxiliary_1x_coco.py")
    assert describe_backbone(config.model.backbone) == "ResNet-101-DC5 (caffe)"
    config = load_config("s_alpha_fpn/retinanet_r50_s-alpha-fpn_8xb4-sm-45k_coco.py")
    assert describe_schedule(config) == "45000 steps, 32 images"
    with pytest.raises(ValueError, match="'VGG'"):
        describe_backbone(dict(type="VGG"))


def test_options_that_change_something_are_no_match() -> None:
    table = load_tables()["asff-table-5"]
    name = "asff/retinanet_r50_asff_1x_coco"
    config = load_config(f"{name}.py")
    matching = [row.name for row in table.rows if is_trained_by(row, name, config)]
    assert matching == ["R50-FPN + ASFF"]
    config.model.backbone.depth = 101
    config.model.backbone.init_cfg.checkpoint = "torchvision://resnet101"
    assert is_trained_by(table.find_row("R101-FPN + ASFF"), name, config)


def test_readme_without_kind_is_an_error(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("| a | kind |\n|---|---|\n| [1x](my_config.py) | new |\n")
    with pytest.raises(ValueError, match="my_config needs a cell"):
        read_kinds(readme)


@pytest.mark.parametrize("page", ["", "<!-- end of the tables -->"])
def test_page_without_markers_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="the page needs"):
        replace_tables(page, "")
