"""The papers' tables: numbers as printed, configs that exist, models that build."""

import copy
import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from mmdet.utils import register_all_modules
from mmengine.config import Config

from fpn_necks.config_tools import find_config
from fpn_necks.reproduction import Metric, Paper, Row, Table, load_papers, load_tables
from tests.reproduction.paper_text import is_row, lines_of_table, numbers_of
from tests.shared_data import shared
from tests.tiny_detectors import load_config

register_all_modules()
PAPERS = load_papers()
TABLES = load_tables()


def test_every_table_is_there() -> None:
    """Also rows that stand on no line of their own, as those of figures."""
    counts = {p.paper: [len(table.rows) for table in p.tables] for p in PAPERS}
    assert {name: (len(rows), sum(rows)) for name, rows in counts.items()} == {
        "ASFF": (6, 47),
        "AugFPN": (7, 71),
        "CFG-FPN and auxiliary losses": (6, 52),
        "DRFPN": (8, 72),
        "S-α FPN": (21, 137),
    }


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.paper)
def test_numbers_are_those_of_the_paper(paper: Paper) -> None:
    """Row by row in order, each on a line of its own, and no row is left out."""
    text = shared(f"papers/{paper.text}").read_text().splitlines()
    used: set[int] = set()
    for table in paper.tables:
        for lines in lines_of_table(table, text).values():
            used.update(lines)
        for row in table.rows:
            if row.layout == "scattered":
                for number in filter(None, row.values.values()):
                    lines = [i for i, x in enumerate(text) if number in numbers_of(x)]
                    assert lines, f"{table.id}, {row.name}: {number}"
                    used.update(lines)
    forgotten = [x for i, x in enumerate(text) if is_row(x) and i not in used]
    assert forgotten == []


def test_few_rows_are_scattered_or_illegible() -> None:
    rows = [row for table in TABLES.values() for row in table.rows]
    assert sum(row.layout == "scattered" for row in rows) <= 5
    lost = Counter(
        table.id for table in TABLES.values() for row in table.rows if row.illegible
    )
    # The text of this table tears numbers apart and loses some digits.
    assert {k: n for k, n in lost.items() if "-figure-" not in k} == {
        "yslao-table-3": 5
    }


def test_the_matcher_finds_what_is_wrong() -> None:
    rows = {"A": (41.0, 21.7), "B": (40.3, 24.2)}
    text = ["41.0", "A [1]\t$41.0$\t57.6 21.\t7 42.8", "B\t40.3\t24.2\t2 45"]
    assert lines_of_table(small_table(rows), text) == {"A": [1], "B": [2]}
    with pytest.raises(AssertionError, match="no line has the numbers of A"):
        lines_of_table(small_table(rows | {"A": (41.0, 21.8)}), text)
    with pytest.raises(AssertionError, match="nowhere in this order"):
        lines_of_table(small_table({"B": rows["B"], "A": rows["A"]}), text)
    assert [is_row(line) for line in text] == [False, True, True]


def small_table(rows: dict[str, tuple[float, float]]) -> Table:
    made = [
        Row(name, None, None, None, dict(AP=ap, AP_S=small), config="a/b")
        for name, (ap, small) in rows.items()
    ]
    metrics = tuple(Metric(name, "percent", None) for name in ("AP", "AP_S"))
    return Table("neck-table-1", "", "", metrics, tuple(made))


# ------------------------------------------------------------ configs and their options


def runs_of(tables: Iterable[Table]) -> list:
    """Return a row of each training, and what tables read from its log.

    RetinaNet† stands in six tables.
    """
    runs: dict[str, tuple[str, Row, set[str]]] = {}
    for table in tables:
        for row in filter(lambda row: row.kind == "trainable", table.rows):
            key = repr((row.config, sorted(row.options.items()), row.pretraining))
            new = (f"{table.id}: {row.slug}", row, set())
            runs.setdefault(key, new)[2].update(
                metric.log
                for metric in table.metrics
                if metric.log is not None
                and (
                    row.values[metric.name] is not None or metric.name in row.illegible
                )
            )
    return [pytest.param(row, logs, id=name) for name, row, logs in runs.values()]


RUNS = runs_of(TABLES.values())


@functools.cache
def read_mmdet(name: str) -> Config:
    return Config.fromfile(find_config(name))


def load(name: str, options: Mapping[str, Any]) -> Config:
    """Read a config, a shipped one through the cache that other tests have filled."""
    if name.startswith("mmdet::"):
        config = copy.deepcopy(read_mmdet(name))
    else:
        config = load_config(f"{name}.py")
    config.merge_from_dict(dict(options))
    return config


@pytest.mark.parametrize(("row", "logs"), RUNS)
def test_config_has_the_options_and_logs_the_metrics(row: Row, logs: set[str]) -> None:
    assert row.config is not None
    config = load(row.config, row.options)
    check_options(config, row.options)
    evaluators = config.val_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    logged = [key for evaluator in evaluators for key in logged_by(evaluator)]
    for log in logs:
        assert any(re.fullmatch(key, log) for key in logged), log
    if row.pretraining is not None:
        first = load(row.pretraining.config, row.pretraining.options)
        check_options(first, row.pretraining.options)
        # The released pre-training has plain fusion, with S-α after it too.
        assert first.model.neck == dict(config.model.neck, fusion_factor=1.0)


def check_options(config: Config, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        if key.endswith("._delete_"):
            continue
        found = config
        for part in key.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert found == value, key


def logged_by(evaluator: Any) -> list[str]:
    """Return patterns of what a metric's configuration writes into the logs."""
    if evaluator.type == "TinyPersonMetric":
        return [r"tiny_person/(AP|MR)(25|50|75)_(all|tiny[123]?|small)"]
    if evaluator.type == "VOCMetric":
        return ["pascal_voc/(mAP|AP50)"]
    if evaluator.type == "CityScapesMetric":
        return []
    metric = evaluator.metric
    kinds = "|".join([metric] if isinstance(metric, str) else metric)
    names = [rf"coco/({kinds})_mAP(_50|_75|_s|_m|_l)?"]
    return names + ["coco/(clock|person)_precision"] * evaluator.get("classwise", False)
