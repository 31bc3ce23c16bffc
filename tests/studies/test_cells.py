"""Cells, necks and recipes: what is compared, and that nothing else differs."""

from typing import Any

import pytest
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

import fpn_necks  # noqa: F401
from fpn_necks.necks import CFGFPN, DRFPN, AugFPN, SAlphaFPN
from fpn_necks.reproduction.compare import differences, flatten
from fpn_necks.studies import recipe
from fpn_necks.studies.cells import (
    Cell,
    all_cells,
    choose_blocks,
    planned_blocks,
    sweep_cells,
)
from fpn_necks.studies.detectors import DETECTORS
from fpn_necks.studies.necks import NECKS, with_neck
from fpn_necks.studies.sets import SETS


def build(cell: Cell) -> Any:
    register_all_modules(init_default_scope=True)
    return MODELS.build(cell.config().model)


def test_the_grid_has_every_combination_once() -> None:
    cells = all_cells()
    assert len(set(cells)) == len(cells)
    assert len({cell.name for cell in cells}) == len(cells)
    assert len({cell.recipe_hash() for cell in cells}) == len(cells)
    for detector in DETECTORS:
        for data in SETS:
            for neck in NECKS:
                assert Cell(detector, data, neck) in cells


def test_the_plan_is_retinanet_on_bccd_and_then_the_sweep() -> None:
    table, sweep = planned_blocks()
    assert [cell.name for cell in table] == [f"retinanet-bccd-{n}" for n in NECKS]
    assert [text for text, _ in sweep_cells()] == [
        "0", "0.25", "0.5", "0.75", "1", "1.1", "statistic",
    ]  # fmt: skip
    for (text, cell), planned in zip(sweep_cells(), sweep, strict=True):
        assert cell == planned and cell in all_cells()
        neck = cell.config().model.neck
        if text == "1":
            assert neck.type == "FPN"
        elif text == "statistic":
            assert neck.fusion_factor.type == "StatisticFusionFactor"
        else:
            assert neck.fusion_factor == float(text)


@pytest.mark.parametrize("data", SETS)
@pytest.mark.parametrize("neck", NECKS)
def test_necks_of_one_detector_differ_in_the_neck_alone(data: str, neck: str) -> None:
    plain = flatten(Cell("retinanet", data, "fpn").config())
    other = flatten(Cell("retinanet", data, neck).config())
    allowed = ("model.neck", "custom_hooks")
    if neck == "augfpn":
        allowed += ("model.type", "model.auxiliary")
    changed = [key for key, _, _ in differences(plain, other)]
    assert all(key.startswith(allowed) for key in changed)
    assert bool(changed) == (neck != "fpn")


@pytest.mark.parametrize("detector", DETECTORS)
def test_models_build_with_the_methods_parts(detector: str) -> None:
    necks = {name: build(Cell(detector, "bccd", name)).neck for name in NECKS}
    assert type(necks["s-alpha-fpn"]) is SAlphaFPN
    assert type(necks["cfg-fpn"]) is CFGFPN
    assert necks["cfg-fpn"].grouping is not None
    assert type(necks["drfpn"]) is DRFPN
    assert necks["asff"][1].num_fused == len(necks["fpn"].lateral_convs)
    augfpn = build(Cell(detector, "bccd", "augfpn"))
    assert type(augfpn.neck) is AugFPN
    assert len(augfpn.auxiliary.bbox_heads) == 1  # shared by the levels
    assert augfpn.auxiliary.loss_weight == 0.25
    two_stages = detector == "faster-rcnn"
    assert augfpn.neck.residual_to_extra_level != two_stages
    if two_stages:
        kind = type(augfpn.roi_head.bbox_roi_extractor).__name__
        assert kind == "SoftRoIExtractor"


def test_the_hash_is_of_everything_but_seed_and_place(monkeypatch) -> None:
    cell = Cell("retinanet", "bccd", "fpn")
    before = cell.recipe_hash()
    assert before == Cell("retinanet", "bccd", "fpn").recipe_hash()
    assert cell.recipe_hash(test="val") != before
    monkeypatch.setattr(recipe, "LEARNING_RATE", 1e-3)
    assert cell.recipe_hash() != before


def test_budget_and_seeds() -> None:
    assert recipe.TUNING_SEED not in recipe.STUDY_SEEDS
    config = Cell("fcos", "synthetic", "drfpn").config()
    steps, batch = config.train_cfg.max_iters, config.train_dataloader.batch_size
    assert steps * batch == recipe.IMAGES_SEEN
    # Nothing is measured on test images before the end, or chosen by them.
    assert "val_dataloader" not in config and "val_cfg" not in config


def test_choosing() -> None:
    assert choose_blocks(None) == planned_blocks()
    names = ["fcos-bccd-fpn", "retinanet-bccd-drfpn"]
    (block,) = choose_blocks(names)
    assert [cell.name for cell in block] == names
    first, second = choose_blocks(["retinanet-bccd-*", "sweep"])
    assert [first, second] == planned_blocks()
    with pytest.raises(ValueError, match="'retinanet-coco-fpn', which fits no cell"):
        choose_blocks(["retinanet-coco-fpn"])
    with pytest.raises(ValueError, match="neck must be one of fpn, .* got 'bifpn'"):
        with_neck(Cell("fcos", "bccd", "fpn").config().model, "bifpn")
