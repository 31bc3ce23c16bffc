"""What the reader of the papers' tables takes, and what it refuses."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fpn_necks.reproduction import find_table, load_papers
from fpn_necks.reproduction.tables import slug_of

GOOD = """
paper: Neck
title: A Neck
text: neck.txt
tables:
  - id: neck-table-1
    title: Two necks
    dataset: coco-val2017
    metrics:
      - {name: AP, unit: percent, log: coco/bbox_mAP}
      - {name: FPS, unit: frames per second, log: null}
    rows:
      - name: "FPN, α = 1"
        detector: RetinaNet
        backbone: ResNet-50
        schedule: 1x
        values: {AP: 36.5, FPS: '-'}
        config: mmdet::retinanet/retinanet_r50_fpn_1x_coco
        options: {model.neck.num_outs: 5}
        pretraining: {config: folder/name}
      - name: Neck
        detector: null
        backbone: null
        schedule: null
        values: {AP: null, FPS: 12}
        illegible: [AP]
        quoted: from elsewhere
"""


def write(folder: Path, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / "neck.yaml").write_text(text)
    return folder


def test_good_file_is_read(tmp_path: Path) -> None:
    (paper,) = load_papers(write(tmp_path, GOOD))
    assert (paper.paper, paper.arxiv, paper.text) == ("Neck", None, "neck.txt")
    (table,) = paper.tables
    first, second = table.rows
    assert [metric.scale for metric in table.metrics] == [100, 1]
    assert first.values == {"AP": 36.5, "FPS": None} and not first.illegible
    assert (first.kind, first.slug) == ("trainable", "fpn-alpha-1")
    assert first.options == {"model.neck.num_outs": 5}
    assert first.pretraining is not None and first.pretraining.options == {}
    assert second.values == {"AP": None, "FPS": 12} and second.kind == "quoted"
    assert table.find_row("fpn-alpha-1") is table.find_row("FPN, α = 1") is first


TABLE, ROWS = "neck.yaml: table 'neck-table-1': ", "tables.0.rows."
FIRST, SECOND = TABLE + "row 'FPN, α = 1': ", TABLE + "row 'Neck': "


@pytest.mark.parametrize(
    ("key", "value", "message"),  # None: taken away
    [
        ("tables", None, "neck.yaml: .*missing .* 'tables'"),
        ("tables.0.datasets", "coco", TABLE + ".* 'datasets'"),
        ("tables.0.metrics.0.log", None, TABLE + "metric 'AP': .*missing .* 'log'"),
        (ROWS + "1.name", "FPN alpha 1", TABLE + "two rows have the slug 'fpn-alpha-1"),
        (ROWS + "1.reason", "none", SECOND + "exactly one .* not quoted and reason"),
        (ROWS + "1.quoted", None, SECOND + "exactly one .* not none"),
        (ROWS + "0.values.FPS", None, TABLE + "row 'FPN, α = 1': .* wrong: FPS"),
        (ROWS + "0.values.AP50", 1, TABLE + "row 'FPN, α = 1': .* wrong: AP50"),
        (ROWS + "0.values.AP", "3,5", FIRST + "AP is '3,5', which is no number"),
        (ROWS + "0.values", dict(AP=None, FPS="-"), FIRST + "AP is None, but .* null"),
        (ROWS + "1.values.AP", 1.0, SECOND + "AP is 1.0, but a value is null exactly"),
        (ROWS + "0.pretraining.steps", 3, FIRST + ".*'steps'"),
        ("tables.0.rows", ["FPN"], "neck.yaml: table 'neck-table-1': "),
    ],
)
def test_errors_name_file_table_row_and_field(
    key: str, value: Any, message: str, tmp_path: Path
) -> None:
    content = node = yaml.safe_load(GOOD)
    *parents, last = (int(x) if x.isdigit() else x for x in key.split("."))
    for part in parents:
        node = node[part]
    node.pop(last) if value is None else node.update({last: value})
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
    folder = write(tmp_path, GOOD)
    assert find_table("neck-table-1", folder).title == "Two necks"
    with pytest.raises(ValueError, match="'neck-tabel-1': did you mean neck-table-1"):
        find_table("neck-tabel-1", folder)
    with pytest.raises(ValueError, match="'xyz': neck-table-1"):
        find_table("xyz", folder)
    with pytest.raises(ValueError, match="no row 'FPN'; near ones: fpn-alpha-1"):
        find_table("neck-table-1", folder).find_row("FPN")


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
