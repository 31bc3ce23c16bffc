"""What the methods' READMEs and docs/papers say: symbols, configs, rows of tables."""

import ast
import functools
import importlib
import inspect
import re
import shlex
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, DictAction

import fpn_necks.auxiliary
import fpn_necks.necks
import fpn_necks.roi_extractors
from fpn_necks.shipped_configs import config_path, configs_folder, list_configs
from tests.tiny_detectors import (
    load_config,
    make_tiny,
    set_statistic_factors,
    shrink,
    train_and_test_a_step,
)
from tests.tiny_sets import write_coco_set

register_all_modules()
ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "papers").glob("*.md"))
READMES = sorted(configs_folder().glob("*/README.md"))


def name_of(page: Path) -> str:
    return f"{page.parent.name}/{page.name}"


def quoted(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`\n]+)`", text)


# ---------------------------------------------------------------- rows of the tables


@dataclass(frozen=True)
class Row:
    """A row of "The paper's tables": what it reproduces, and with which command."""

    folder: str
    label: str
    config: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.folder}: {self.label}"

    def load(self, with_options: bool = True) -> Config:
        config = load_config(self.config)
        if with_options:
            config.merge_from_dict(self.changes)
        return config

    @property
    def changes(self) -> dict[str, Any]:
        """What mmdet's own command line makes of the options."""
        parser = ArgumentParser()
        parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
        words = ["--cfg-options", *self.options] if self.options else []
        return parser.parse_args(words).cfg_options


def rows_of(readme: Path) -> list[Row]:
    """Read the rows and the letters that stand for configs, with options of theirs."""
    section = readme.read_text().split("## The paper's tables")[1].split("\n## ")[0]
    letters = {
        letter: (name, options.split())
        for letter, name, options in re.findall(
            r"`([A-Z])` is\s+`([^`]+)`(?:\s+with\s+`([^`]+)`)?", section
        )
    }
    rows = []
    table = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]*)\|$", section, re.MULTILINE)
    for label, config, options in table[1:]:  # without the head
        name, common = letters.get(config.strip(), (config.strip("` "), []))
        (words,) = re.findall(r"^`([^`]*)`", options.strip()) or [""]
        rows.append(
            Row(readme.parent.name, label, name, (*common, *shlex.split(words)))
        )
    return rows


ROWS = [row for readme in READMES for row in rows_of(readme)]
ROWS_WITH_OPTIONS = [row for row in ROWS if row.options]
TRAINED: set[str] = set()  # rows that differ in a backbone alone are the same in small


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    write_coco_set(folder, num_images=4, size=(192, 128), ignored_last=True)
    return folder


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_tables_have_rows_of_configs_that_exist(readme: Path) -> None:
    rows = rows_of(readme)
    section = readme.read_text().split("## The paper's tables")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(rows) == len(lines) - 2 >= 5  # without the head and its rule
    for row in rows:
        assert config_path(row.config).parent.name == row.folder


@pytest.mark.long  # every row of every table; the configs are in the core suite
@pytest.mark.parametrize("row", ROWS_WITH_OPTIONS, ids=str)
def test_row_trains(row: Row, tiny_set: Path) -> None:
    """The rows without options are configs, which tests/test_configs.py trains."""
    config = make_tiny(row.load(), tiny_set)
    tiny_model = repr(config.model.to_dict())
    plain = make_tiny(row.load(with_options=False), tiny_set)
    if tiny_model not in TRAINED and tiny_model != repr(plain.model.to_dict()):
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
    return modules_of(load_config(config))


@pytest.mark.parametrize("row", ROWS_WITH_OPTIONS, ids=str)
def test_options_of_a_row_take_effect(row: Row) -> None:
    config = row.load()
    for key, value in row.changes.items():
        if key.endswith("._delete_"):  # mmengine's word, which is gone after merging
            continue
        found = config
        for part in key.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert found == value
    if not any(key.startswith("model.") for key in row.changes):
        return
    if modules_of(config) == modules_without_options(row.config):
        assert results_of(config) != results_of(row.load(with_options=False))


# ------------------------------------------------------------ READMEs and metafiles


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_readme_names_every_config_of_its_folder(readme: Path) -> None:
    text = readme.read_text()
    linked = {Path(name).stem for name in re.findall(r"\]\(([^)/]+\.py)\)", text)}
    here = {path.stem for path in readme.parent.glob("*.py")}
    assert {n for n in here if "_demo_" not in n} <= linked | set(quoted(text))
    assert linked <= here


def test_every_folder_has_readme_and_metafile_in_the_index() -> None:
    folders = {name.split("/")[0] for name in list_configs()}
    assert {readme.parent.name for readme in READMES} == folders
    index = (configs_folder() / "model-index.yml").read_text()
    listed = re.findall(r"configs/(\w+)/metafile\.yml", index)
    assert sorted(folders) == listed
    for folder in folders:
        metafile = (configs_folder() / folder / "metafile.yml").read_text()
        for path in re.findall(r"(?:README|URL): ((?!http)\S+)", metafile):
            assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_readme_names_configs_that_exist(readme: Path) -> None:
    check_config_names(readme.read_text())


# ------------------------------------------------------------------ pages per paper


def check_config_names(text: str) -> None:
    """Every quoted word that looks like a config is one of ours or of mmdet's."""
    import mmdet

    theirs = Path(mmdet.__file__).parent / ".mim" / "configs"
    known = {path.stem for path in theirs.rglob("*.py")}
    known |= {Path(name).stem for name in list_configs()}
    for word in quoted(text):
        if re.fullmatch(
            r"\S+_(coco|coco100|tinyperson|tinycitypersons|cityscapes)(\.py)?", word
        ):
            assert Path(word).stem in known, word


def resolve(path: str) -> Any:
    """Return the object behind a dotted path."""
    parts = path.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(path)


REGISTERING = (fpn_necks.necks, fpn_necks.roi_extractors, fpn_necks.auxiliary)


def public_classes() -> dict[str, type]:
    modules = (fpn_necks.layers, *REGISTERING)
    return {
        name: getattr(module, name)
        for module in modules
        for name in module.__all__
        if inspect.isclass(getattr(module, name))
    }


def arguments_of(cls: type) -> set[str]:
    """Return the names of a constructor's arguments, of all classes it passes to."""
    return {
        name
        for parent in cls.__mro__
        if "__init__" in vars(parent)
        for name in inspect.signature(parent.__init__).parameters
    }


def test_every_neck_extractor_and_loss_has_its_page() -> None:
    text = "".join(page.read_text() for page in PAGES)
    bases = {"PyramidNeck", "AuxiliaryForm"}
    for module in REGISTERING:
        for name in set(module.__all__) - bases:
            assert f"`{module.__name__}.{name}`" in text, name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_symbols_of_a_page_exist(page: Path) -> None:
    found = [w for w in quoted(page.read_text()) if w.startswith("fpn_necks.")]
    assert found
    for path in found:
        resolve(path)


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=name_of)
def test_calls_of_a_page_have_arguments_that_exist(page: Path) -> None:
    classes = public_classes()
    for word in quoted(page.read_text()):
        if not re.match(r"\w+\(.*=.*\)$", word):
            continue
        call = ast.parse(word, mode="eval").body
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if call.func.id == "dict":
            continue
        for keyword in call.keywords:
            assert keyword.arg in arguments_of(classes[call.func.id]), word


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_names_configs_files_and_links_that_exist(page: Path) -> None:
    text = page.read_text()
    check_config_names(text)
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in link or (page.parent / link).exists(), link
    for path in quoted(text):
        if re.match(r"(fpn_necks|configs|tests|tools|docs)/", path):
            assert (ROOT / path.split()[0]).exists(), path  # or a command line
    assert not re.search("TODO|FIXME", text)
