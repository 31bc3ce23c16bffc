"""The methods' pages: symbols, calls, quoted numbers and options that exist and act."""

import ast
import functools
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config

import fpn_necks.auxiliary
import fpn_necks.necks
import fpn_necks.roi_extractors
from fpn_necks.config_tools import read_options
from fpn_necks.messages import arguments_of
from fpn_necks.reproduction import load_tables
from fpn_necks.shipped_configs import configs_folder, list_configs
from tests.tiny_detectors import (
    load_config,
    make_tiny,
    set_statistic_factors,
    shrink,
    train_and_test_a_step,
)
from tests.tiny_sets import write_coco_set

register_all_modules()
ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "methods").glob("*.md"))
TABLES = load_tables()
STEMS = {Path(name).stem for name in list_configs()}
REGISTERING = (fpn_necks.necks, fpn_necks.roi_extractors, fpn_necks.auxiliary)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


# --------------------------------------------------------------- options of the tables


@dataclass(frozen=True)
class Row:
    """A training: a row of a paper's table, or a variant on a method's page."""

    name: str
    config: str
    changes: dict[str, Any]

    def __str__(self) -> str:
        return self.name

    def load(self) -> Config:
        config = load_config(f"{self.config}.py")
        config.merge_from_dict(dict(self.changes))
        return config


def find_rows() -> list[Row]:
    """Rows with options, each training once; sweeps of α are one number each."""
    rows: dict[str, Row] = {}
    for table in TABLES.values():
        for row in table.rows:
            if row.options and row.config in OURS and "figure" not in table.id:
                new = Row(f"{table.id}: {row.slug}", row.config, dict(row.options))
                rows.setdefault(repr((new.config, sorted(new.changes.items()))), new)
    for page in PAGES:
        table = page.read_text().partition("| variant | config | options |")[2]
        for line in table.split("\n\n")[0].splitlines()[2:]:
            label, config, options = (cell.strip("`") for cell in cells(line))
            (name,) = (name for name in OURS if Path(name).stem == config)
            changes = read_options(options.split())
            rows[label] = Row(f"{page.stem}: {label}", name, changes)
    return list(rows.values())


OURS = {name.removesuffix(".py") for name in list_configs()}
ROWS = find_rows()
TRAINED: set[str] = set()  # rows that differ in a backbone alone are the same in small


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_coco_set(folder, num_images=4, size=(192, 128), ignored_last=True)
    return folder


@pytest.mark.long  # the configs without options are trained by tests/test_configs.py
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row_trains(row: Row, tiny_set: Path) -> None:
    config = make_tiny(row.load(), tiny_set)
    plain = make_tiny(load_config(f"{row.config}.py"), tiny_set)
    tiny_model = repr(config.model.to_dict())
    if tiny_model in TRAINED | {repr(plain.model.to_dict())}:
        pytest.skip("the same in small as a config or row that is trained")
    train_and_test_a_step(config)
    TRAINED.add(tiny_model)


def modules_of(config: Config) -> str:
    """Return what the model consists of, in full size."""
    if config.model.backbone.type == "SwinTransformer":
        shrink(config)  # its constructor reads numbers, which meta tensors lack
    with torch.device("meta"):
        return repr(MODELS.build(config.model))


def results_of(config: Config) -> list[float]:
    """Return what the neck computes, with few channels and large maps."""
    torch.manual_seed(0)
    neck = MODELS.build(shrink(config).model.neck)
    neck.init_weights()
    set_statistic_factors(neck)
    maps = [torch.rand(2, 16 * 2**i, 96 // 2**i, 96 // 2**i) for i in range(4)]
    with torch.no_grad():
        return [x.sum().item() for x in neck(maps)]


@functools.cache
def modules_without_options(config: str) -> str:
    return modules_of(load_config(f"{config}.py"))


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if any(key.startswith("model.") for key in row.changes)],
    ids=str,
)
def test_options_of_a_row_take_effect(row: Row) -> None:
    config = row.load()
    if modules_of(config) == modules_without_options(row.config):
        assert results_of(config) != results_of(load_config(f"{row.config}.py"))


# ----------------------------------------------------------------------- the pages


def quoted(page: Path) -> list[str]:
    """Return what stands in backticks, outside of code blocks."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


@each_page
def test_quoted_numbers_stand_in_their_table(page: Path) -> None:
    section = page.read_text().split("## What the paper reports")[1].split("\n\n")[1]
    lines = section.splitlines()[2:]
    assert len(lines) >= 5
    for line in lines:
        table, _, metric, *numbers = (cell.strip("`") for cell in cells(line))
        found = {row.values[metric] for row in TABLES[table].rows}
        assert {float(number) for number in numbers} <= found, line


def test_every_folder_has_a_page_and_stands_in_the_index() -> None:
    folders = {name.split("/")[0] for name in list_configs()}
    assert {page.stem for page in PAGES} == folders
    index = (configs_folder() / "model-index.yml").read_text()
    assert re.findall(r"configs/(\w+)/metafile\.yml", index) == sorted(folders)
    for folder in folders:
        metafile = (configs_folder() / folder / "metafile.yml").read_text()
        for path in re.findall(r"(?:README|URL): ((?!http)\S+)", metafile):
            assert (ROOT / path).is_file(), path


def test_every_neck_extractor_and_loss_has_its_page() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for module in REGISTERING:
        for name in set(module.__all__) - {"PyramidNeck", "AuxiliaryForm"}:
            assert f"`{module.__name__}.{name}`" in text, name


@each_page
def test_symbols_calls_and_configs_exist(page: Path) -> None:
    for word in quoted(page):
        if word.startswith("fpn_necks."):
            pkgutil.resolve_name(word)
        elif re.match(r"[A-Z]\w+\(.*=.*\)$", word):
            call = ast.parse(word, mode="eval").body
            modules = (fpn_necks.layers, *REGISTERING)
            (cls,) = {
                getattr(m, call.func.id) for m in modules if hasattr(m, call.func.id)
            }
            assert {k.arg for k in call.keywords} <= (arguments_of(cls) or set())
        elif re.fullmatch(r"\S+_(coco|coco100|tinyperson|cityscapes)", word):
            assert word in STEMS, word
