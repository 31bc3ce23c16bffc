"""What the reader of the papers' tables takes, and what it refuses."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fpn_necks.reproduction import find_table, load_papers
from fpn_necks.reproduction.tables import slug_of
from tests.reproduction.tiny_table import TEXT


def write(folder: Path, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / "neck.yaml").write_text(text)
    return folder


def test_good_file_is_read(tmp_path: Path) -> None:
    content = yaml.safe_load(TEXT)
    content["tables"][0]["rows"][1]["pretraining"] = dict(config="folder/name")
    (paper,) = load_papers(write(tmp_path, content))
    assert (paper.paper, paper.arxiv, paper.text) == ("Tiny", None, "tiny.txt")
    (table,) = paper.tables
    first, second, *others = table.rows
    assert [metric.scale for metric in table.metrics] == [100, 100, 1]
    assert first.values == {"AP": 36.5, "AP50": 55.4, "speed": 20}
    assert not first.illegible and first.pretraining is None and not first.options
    assert second.values == {"AP": 37.5, "AP50": None, "speed": None}
    assert (second.kind, second.slug) == ("trainable", "s-alpha-alpha-0.5")
    assert second.options == {"model.neck.fusion_factor": 0.5}
    assert second.pretraining is not None and second.pretraining.options == {}
    assert [row.kind for row in others] == ["quoted", "untrainable"]
    assert table.find_row(second.slug) is table.find_row(second.name) is second


TABLE, ROWS = "neck.yaml: table 'tiny-table-1': ", "tables.0.rows."
FIRST, SECOND, QUOTED = (
    f"{TABLE}row '{name}': " for name in ("FPN", "S-α, α = 0.5", "another system")
)


@pytest.mark.parametrize(
    ("key", "value", "message"),  # None: taken away; ...: null
    [
        ("tables", None, "neck.yaml: .*missing .* 'tables'"),
        ("tables.0.datasets", "coco", TABLE + ".* 'datasets'"),
        ("tables.0.metrics.0.log", None, TABLE + "metric 'AP': .*missing .* 'log'"),
        (ROWS + "1.name", "(FPN)", TABLE + "two rows have the slug 'fpn'"),
        (ROWS + "2.reason", "none", QUOTED + "exactly one .* not quoted and reason"),
        (ROWS + "2.quoted", None, QUOTED + "exactly one .* not none"),
        (ROWS + "0.values.speed", None, FIRST + ".* wrong: speed"),
        (ROWS + "0.values.AP75", 1, FIRST + ".* wrong: AP75"),
        (ROWS + "0.values.AP", "3,5", FIRST + "AP is '3,5', which is no number"),
        (ROWS + "0.values.AP50", ..., FIRST + "AP50 is None, but .* null"),
        (ROWS + "1.values.AP50", 1, SECOND + "AP50 is 1, but a value is null exactly"),
        (ROWS + "1.pretraining", dict(steps=3), SECOND + ".*'steps'"),
        ("tables.0.rows", ["FPN"], TABLE),
    ],
)
def test_errors_name_file_table_row_and_field(
    key: str, value: Any, message: str, tmp_path: Path
) -> None:
    content = node = yaml.safe_load(TEXT)
    *parents, last = (int(x) if x.isdigit() else x for x in key.split("."))
    for part in parents:
        node = node[part]
    node[last] = None if value is ... else value
    if value is None:
        del node[last]
    with pytest.raises(ValueError) as error:
        load_papers(write(tmp_path, content))
    assert re.match(message, str(error.value)) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["tables: [", "a text", ""])
def test_what_is_no_table_at_all(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neck.yaml: "):
        load_papers(write(tmp_path, text))


def test_unknown_tables_and_rows_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no tables"):
        load_papers(tmp_path)
    folder = write(tmp_path, TEXT)
    assert find_table("tiny-table-1", folder).note == "all of it in small"
    with pytest.raises(ValueError, match="'tiny-tabel-1': did you mean tiny-table-1"):
        find_table("tiny-tabel-1", folder)
    with pytest.raises(ValueError, match="'xyz': tiny-table-1"):
        find_table("xyz", folder)
    with pytest.raises(ValueError, match="no row 'S-α'; near ones: s-alpha-alpha-0.5"):
        find_table("tiny-table-1", folder).find_row("S-α")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("RetinaNet†", "retinanet-dagger"),
        ("CS+RFA", "cs-plus-rfa"),
        ("α = 0.25, 3×", "alpha-0.25-3x"),
        ("../a/b", "a-b"),
    ],
)
def test_slugs_are_names_of_folders(name: str, slug: str) -> None:
    assert slug_of(name) == slug
