"""What the reader of the papers' tables takes, and what it refuses."""

import re
from collections.abc import Callable
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
FIRST = "neck.yaml, table 'neck-table-1', row 'FPN, α = 1', field "
SECOND = "neck.yaml, table 'neck-table-1', row 'Neck', field "
Edit = Callable[[dict[str, Any]], Any]


def write(folder: Path, content: Any, name: str = "neck.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / name).write_text(text)
    return folder


def test_good_file_is_read(tmp_path: Path) -> None:
    (paper,) = load_papers(write(tmp_path, GOOD))
    assert (paper.name, paper.arxiv, paper.text) == ("Neck", "2001.00001", "neck.txt")
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


BAD: dict[str, tuple[Edit, str]] = {
    "no table": (lambda p: p.pop("tables"), "neck.yaml, field 'tables': is missing"),
    "empty": (lambda p: p.update(tables=[]), "field 'tables': a list with entries"),
    "arxiv as a number": (
        lambda p: p.update(arxiv=2001.00001),
        "neck.yaml, field 'arxiv': 2001.00001 is no text; quote it",
    ),
    "text": (lambda p: p.update(text="../neck.txt"), "field 'text': '../neck.txt'"),
    "misspelt": (
        lambda p: p["tables"][0].update(datasets="coco"),
        "table 'neck-table-1', field 'datasets': is unknown; did you mean 'dataset'",
    ),
    "no id": (
        lambda p: p["tables"][0].pop("id"),
        "neck.yaml, table 1, field 'id': is missing",
    ),
    "two ids": (
        lambda p: p["tables"].append(p["tables"][0]),
        "neck.yaml, field 'tables': two have the id 'neck-table-1'",
    ),
    "unit": (
        lambda p: p["tables"][0]["metrics"][0].update(unit="%"),
        "metric 1, field 'unit': '%' is not one of percent, number",
    ),
    "log": (
        lambda p: p["tables"][0]["metrics"][0].update(log="bbox_mAP"),
        "metric 1, field 'log': 'bbox_mAP' does not match",
    ),
    "two metrics": (
        lambda p: p["tables"][0]["metrics"][1].update(name="AP"),
        "field 'metrics': two have the name 'AP'",
    ),
    "two slugs": (
        lambda p: p["tables"][0]["rows"][1].update(name="FPN alpha 1"),
        "table 'neck-table-1', field 'rows': two have the name 'fpn-alpha-1'",
    ),
    "no slug": (
        lambda p: p["tables"][0]["rows"][1].update(name="–"),
        "field 'name': needs a letter or digit",
    ),
    "spaces alone": (
        lambda p: p["tables"][0]["rows"][1].update(name="  "),
        "row 2, field 'name': '  ' is no text",
    ),
    "two kinds": (
        lambda p: p["tables"][0]["rows"][1].update(reason="none"),
        "row 'Neck': exactly one of the fields config, quoted, reason is needed, "
        "not quoted and reason",
    ),
    "no kind": (
        lambda p: p["tables"][0]["rows"][1].pop("quoted"),
        "row 'Neck': exactly one of the fields config, quoted, reason is needed, "
        "not none",
    ),
    "options alone": (
        lambda p: p["tables"][0]["rows"][1].update(options={}),
        SECOND + "'options': belongs to a row with a config",
    ),
    "no value": (
        lambda p: p["tables"][0]["rows"][0]["values"].pop("FPS"),
        FIRST + "'values': missing: FPS",
    ),
    "other value": (
        lambda p: p["tables"][0]["rows"][0]["values"].update(AP50=1),
        FIRST + "'values': not a metric of the table: AP50",
    ),
    "value as text": (
        lambda p: p["tables"][0]["rows"][0]["values"].update(AP="36,5"),
        FIRST + "'values': AP is '36,5', which is no number",
    ),
    "yes as a value": (
        lambda p: p["tables"][0]["rows"][0]["values"].update(AP=True),
        FIRST + "'values': AP is True, which is no number",
    ),
    "null, but legible": (
        lambda p: p["tables"][0]["rows"][0]["values"].update(AP=None),
        FIRST + "'values': AP is None, but a value is null exactly if 'illegible'",
    ),
    "illegible, but a number": (
        lambda p: p["tables"][0]["rows"][1]["values"].update(AP=1.0),
        SECOND + "'values': AP is 1.0, but a value is null exactly if 'illegible'",
    ),
    "illegible column": (
        lambda p: p["tables"][0]["rows"][1].update(illegible=["AP", "AP50"]),
        SECOND + "'illegible': 'AP50' is not one of AP, FPS",
    ),
    "config with ending": (
        lambda p: p["tables"][0]["rows"][0].update(config="folder/name.py"),
        FIRST + "'config': 'folder/name.py' does not match",
    ),
    "option with spaces": (
        lambda p: p["tables"][0]["rows"][0].update(options={"model neck": 1}),
        FIRST + "'options': 'model neck' is no dotted key",
    ),
    "pretraining": (
        lambda p: p["tables"][0]["rows"][0]["pretraining"].pop("checkpoint"),
        FIRST + "'pretraining', field 'checkpoint': is missing",
    ),
    "layout": (
        lambda p: p["tables"][0]["rows"][0].update(layout="torn"),
        FIRST + "'layout': 'torn' is not one of line, scattered",
    ),
    "a row that is a text": (
        lambda p: p["tables"][0].update(rows=["FPN"]),
        "table 'neck-table-1', row 1: fields are needed, not 'FPN'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_name_file_table_row_and_field(name: str, tmp_path: Path) -> None:
    edit, message = BAD[name]
    content = yaml.safe_load(GOOD)
    edit(content)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_papers(write(tmp_path, content))
    assert str(error.value).startswith("neck.yaml") and "\n" not in str(error.value)


def test_keys_must_not_stand_twice(tmp_path: Path) -> None:
    twice = GOOD.replace("{AP: 36.5,", "{AP: 36.5, AP: 36.4,")
    with pytest.raises(ValueError, match=r"neck.yaml: .*'AP' stands twice"):
        load_papers(write(tmp_path, twice))


def test_merged_fields_may_be_replaced(tmp_path: Path) -> None:
    merged = GOOD.replace("- name: Neck", "- <<: {schedule: 2x}\n        name: Neck")
    (paper,) = load_papers(write(tmp_path, merged))
    assert paper.tables[0].rows[1].schedule is None


@pytest.mark.parametrize("text", ["tables: [", "a text", ""])
def test_what_is_no_table_at_all(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neck.yaml: "):
        load_papers(write(tmp_path, text))


def test_ids_must_differ_between_papers(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "one.yaml")
    message = "two.yaml, table 'neck-table-1', field 'id': one.yaml has a table of"
    with pytest.raises(ValueError, match=message):
        load_tables(write(tmp_path, GOOD, "two.yaml"))


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
