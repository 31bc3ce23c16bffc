"""What the reader of the papers' tables takes, and what it refuses."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fpn_necks.reproduction import find_table, load_papers, load_tables
from fpn_necks.reproduction.tables import slug_of

GOOD = """
paper: Neck
title: A Neck
arxiv: "2001.00001"
text: neck.txt
tables:
  - id: neck-table-1
    title: Two necks
    dataset: coco-val2017
    metrics:
      - {name: AP, unit: percent, log: coco/bbox_mAP, better: higher}
      - {name: FPS, unit: frames per second, log: null, better: higher}
    rows:
      - name: "FPN, α = 1"
        method: fpn
        detector: RetinaNet
        backbone: ResNet-50
        schedule: 1x
        values: {AP: 36.5, FPS: '-'}
        config: mmdet::retinanet/retinanet_r50_fpn_1x_coco
        options: {model.neck.num_outs: 5}
        pretraining: {config: folder/name, checkpoint: last.pth}
      - name: Neck
        method: neck
        detector: null
        backbone: null
        schedule: null
        values: {AP: null, FPS: 12}
        illegible: [AP]
        quoted: from elsewhere
"""


def write(folder: Path, content: Any, name: str = "neck.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / name).write_text(text)
    return folder


def test_good_file_is_read(tmp_path: Path) -> None:
    (paper,) = load_papers(write(tmp_path, GOOD))
    assert (paper.paper, paper.arxiv, paper.text) == ("Neck", "2001.00001", "neck.txt")
    (table,) = paper.tables
    first, second = table.rows
    assert [metric.scale for metric in table.metrics] == [100, 1]
    assert first.values == {"AP": 36.5, "FPS": None} and first.illegible == ()
    assert (first.kind, first.slug) == ("trainable", "fpn-alpha-1")
    assert first.options == {"model.neck.num_outs": 5}
    assert first.pretraining is not None and first.pretraining.options == {}
    assert second.values == {"AP": None, "FPS": 12} and second.illegible == ("AP",)
    assert (second.kind, second.detector, second.layout) == ("quoted", None, "line")
    assert table.find_row("fpn-alpha-1") is table.find_row("FPN, α = 1") is first


TABLE, ROWS = "neck.yaml, table 'neck-table-1', ", "tables.0.rows."
FIRST, SECOND = TABLE + "row 'FPN, α = 1', field ", TABLE + "row 'Neck', field "
# Where, what is written there (None: taken away), and what is said.
BAD: tuple[tuple[str, Any, str], ...] = (
    ("tables", None, "neck.yaml, field 'tables': is missing"),
    ("tables", [], "field 'tables': a list with entries"),
    ("arxiv", 2001.00001, "neck.yaml, field 'arxiv': 2001.00001 is no text; quote it"),
    ("text", "../neck.txt", "field 'text': '../neck.txt' does not match"),
    (
        "tables.0.datasets",
        "coco",
        TABLE + "field 'datasets': is unknown; did you mean 'dataset'",
    ),
    ("tables.0.id", None, "neck.yaml, table 1, field 'id': is missing"),
    ("tables.0.metrics.0.unit", "%", "'AP', field 'unit': '%' is not one of percent, "),
    ("tables.0.metrics.0.log", "mAP", "'AP', field 'log': 'mAP' does not match"),
    ("tables.0.metrics.1.name", "AP", "field 'metrics': two have the name 'AP'"),
    (ROWS + "1.name", "FPN alpha 1", "field 'rows': two have the slug 'fpn-alpha-1'"),
    (ROWS + "1.name", "–", "field 'rows': '–' needs a letter or digit"),
    (ROWS + "1.name", "  ", "field 'name': '  ' does not match"),
    (
        ROWS + "1.reason",
        "none",
        "row 'Neck': exactly one of the fields config, quoted, reason is needed, not "
        "quoted and reason",
    ),
    (ROWS + "1.quoted", None, "quoted, reason is needed, not none"),
    (ROWS + "1.options", dict(a=1), SECOND + "'options': belongs to a row with a "),
    (ROWS + "0.values.FPS", None, FIRST + "'values': missing: FPS"),
    (ROWS + "0.values.AP50", 1, FIRST + "'values': not a metric of the table: AP50"),
    (ROWS + "0.values.AP", "3,5", FIRST + "'values': AP is '3,5', which is no number"),
    (ROWS + "0.values.AP", True, FIRST + "'values': AP is True, which is no number"),
    (
        ROWS + "0.values",
        dict(AP=None, FPS="-"),
        FIRST + "'values': AP is None, but a value is null exactly if 'illegible'",
    ),
    (
        ROWS + "1.values.AP",
        1.0,
        SECOND + "'values': AP is 1.0, but a value is null exactly if 'illegible'",
    ),
    (ROWS + "1.illegible", ["AP", "AP5"], SECOND + "'illegible': 'AP5' is not one of "),
    (ROWS + "0.config", "folder/name.py", FIRST + "'config': 'folder/name.py' does "),
    (ROWS + "0.options", {"a b": 1}, FIRST + "'options': 'a b' is no dotted key"),
    (
        ROWS + "0.pretraining.checkpoint",
        None,
        FIRST + "'pretraining', field 'checkpoint': is missing",
    ),
    (ROWS + "0.layout", "torn", FIRST + "'layout': 'torn' is not one of line, "),
    ("tables.0.rows", ["FPN"], TABLE + "row 1: fields are needed, not 'FPN'"),
)


@pytest.mark.parametrize(("key", "value", "message"), BAD)
def test_errors_name_file_table_row_and_field(
    key: str, value: Any, message: str, tmp_path: Path
) -> None:
    content = node = yaml.safe_load(GOOD)
    *parents, last = (int(x) if x.isdigit() else x for x in key.split("."))
    for part in parents:
        node = node[part]
    node.pop(last) if value is None else node.update({last: value})
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_papers(write(tmp_path, content))
    assert str(error.value).startswith("neck.yaml") and "\n" not in str(error.value)


def test_keys_and_ids_must_not_stand_twice(tmp_path: Path) -> None:
    twice = GOOD.replace("{AP: 36.5,", "{AP: 36.5, AP: 36.4,")
    with pytest.raises(ValueError, match=r"neck.yaml: .*'AP' stands twice"):
        load_papers(write(tmp_path, twice))
    merged = GOOD.replace("- name: Neck", "- <<: {schedule: 2x}\n        name: Neck")
    (paper,) = load_papers(write(tmp_path, merged))
    assert paper.tables[0].rows[1].schedule is None
    content = yaml.safe_load(GOOD)
    content["tables"] *= 2
    with pytest.raises(ValueError, match="'tables': two have the id 'neck-table-1'"):
        load_papers(write(tmp_path, content))
    write(tmp_path, GOOD)
    message = "two.yaml, table 'neck-table-1', field 'id': neck.yaml has a table of"
    with pytest.raises(ValueError, match=message):
        load_tables(write(tmp_path, GOOD, "two.yaml"))


@pytest.mark.parametrize("text", ["tables: [", "a text", ""])
def test_what_is_no_table_at_all(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neck.yaml: "):
        load_papers(write(tmp_path, text))


def test_a_folder_without_tables(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no tables"):
        load_papers(tmp_path)


def test_unknown_tables_and_rows_are_named(tmp_path: Path) -> None:
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
