"""The report: paper, ours, difference; what is not run, quoted, not comparable."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from fpn_necks.io import write_json
from fpn_necks.reproduction import Table
from fpn_necks.reproduction.plan import choose_rows, plan_runs
from fpn_necks.reproduction.report import (
    csv_report,
    gather,
    markdown_report,
    markdown_table,
    read_results,
)
from tests.reproduction.tiny_table import tiny_table

SLUG = "s-alpha-alpha-0.5"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return tiny_table(tmp_path_factory.mktemp("reporting"))


def measure(
    table: Table, folder: Path, slug: str, values: list[float], **given: Any
) -> None:
    """Write results as runs do, one per value of AP, with seeds 0, 1, ..."""
    rows, seeds = choose_rows(table, [slug]), range(len(values))
    runs = plan_runs(table, rows, folder, seeds, **given)
    for run, value in zip(runs, values, strict=True):
        result = run.facts | dict(
            metrics={"coco/bbox_mAP": value, "coco/bbox_mAP_50": -1.0},
            finished="2026-01-02T03:04:05+00:00",
            versions=dict(torch="2.0", mmdet="3.3.0"),
            device="cpu",
        )
        write_json(run.folder / "result.json", result)


def line_of(text: str, row: str) -> list[str]:
    (line,) = [
        line
        for line in text.split("## ")[0].splitlines()
        if line.startswith(f"| {row} |")
    ]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def csv_of(table: Table, folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    rows = csv.DictReader(io.StringIO(csv_report(table, gather(table, folder))))
    return {(row["row"], row["metric"], row["status"]): row for row in rows}


def test_nothing_was_run(table: Table, tmp_path: Path) -> None:
    text = markdown_report(table, gather(table, tmp_path))
    assert line_of(text, "FPN")[1:] == [
        "-", "36.5 / - / -", "55.4 / - / -", "20.0 / - / -", "not run",
    ]  # fmt: skip
    assert line_of(text, "S-α, α = 0.5")[3] == "illegible / - / -"
    assert line_of(text, "another system")[2:] == [
        "40.0 / - / -", "60.0 / - / -", "- / - / -", "quoted",
    ]  # fmt: skip
    assert r"| FPN \| distilled | - | 38.0 / - / -" in text
    assert "- another system: from its own paper" in text
    assert "- FPN | distilled: distillation is not in this library" in text
    assert "- S-α, α = 0.5: one factor for all connections" in text
    assert "Run by run" not in text and not any(tmp_path.iterdir())


def test_difference_mean_and_deviation_over_seeds(table: Table, tmp_path: Path) -> None:
    measure(table, tmp_path, "fpn", [0.36, 0.37, 0.41])
    text = markdown_report(table, gather(table, tmp_path))
    # Of 36, 37, 41: mean 38, standard deviation sqrt((4 + 1 + 9) / 2) = 2.6458
    assert line_of(text, "FPN")[1:4] == [
        "0, 1, 2", "36.5 / 38.00 ± 2.65 / +1.50", "55.4 / - / -",
    ]  # fmt: skip
    assert line_of(text, "FPN")[-1] == "measured"
    by_run = text.split("## Run by run")[1]
    assert "| FPN | 2 | 2 | 0.00125 | cpu | 2026-01-02T03:04:05+00:00 |" in by_run
    assert 'Versions: "torch": "2.0", "mmdet": "3.3.0".' in by_run
    numbers = csv_of(table, tmp_path)
    row = numbers["FPN", "AP", "measured"]
    assert float(row["paper"]) == 36.5 and float(row["ours"]) == pytest.approx(38)
    assert float(row["std"]) == pytest.approx(7**0.5)
    assert float(row["difference"]) == pytest.approx(1.5)
    assert numbers["FPN", "AP50", "measured"]["ours"] == ""  # -1 is no number


def test_one_seed_has_no_deviation(table: Table, tmp_path: Path) -> None:
    measure(table, tmp_path, "fpn", [0.36])
    text = markdown_report(table, gather(table, tmp_path))
    assert line_of(text, "FPN")[2] == "36.5 / 36.00 / -0.50"


def test_overridden_runs_are_marked(table: Table, tmp_path: Path) -> None:
    measure(
        table, tmp_path, SLUG, [0.5], data_root="small/",
        options={"train_cfg.max_epochs": 1, "train_dataloader.dataset.indices": 10},
    )  # fmt: skip
    text = markdown_report(table, gather(table, tmp_path))
    cells = line_of(text, "S-α, α = 0.5")
    assert cells[2] == "37.5 / 50.00 / -"
    assert cells[-1] == "not comparable: schedule, data set"
    details = text.split("\nS-α, α = 0.5 (seed 0) is not comparable:\n")[1]
    assert "\n- `schedule: train_cfg.max_epochs 12 -> 1`\n" in details
    key = ("S-α, α = 0.5", "AP", "not comparable: schedule, data set")
    assert csv_of(table, tmp_path)[key]["difference"] == ""


def test_other_settings_are_not_averaged(table: Table, tmp_path: Path) -> None:
    measure(table, tmp_path, "fpn", [0.1, 0.2], options={"train_cfg.max_epochs": 1})
    measure(table, tmp_path, "fpn", [0.36])
    first, second = gather(table, tmp_path)[:2]
    assert (first.seeds, second.seeds) == ("0", "1")
    assert first.numbers(table.metrics[0])[2] == pytest.approx(-0.5)
    assert second.numbers(table.metrics[0])[2] is None


def test_seeds_of_moved_data_belong_together(table: Table, tmp_path: Path) -> None:
    measure(table, tmp_path, "fpn", [0.36, 0.37])
    (tmp_path / table.id / "fpn" / "seed0" / "result.json").unlink()
    measure(table, tmp_path, "fpn", [0.38], data_root="/another/disk")
    assert next(entry.seeds for entry in gather(table, tmp_path)) == "0, 1"


def test_unfinished_runs(table: Table, tmp_path: Path) -> None:
    write_json(tmp_path / table.id / "fpn" / "seed4" / "run.json", {})
    assert gather(table, tmp_path)[0].status == "unfinished"


def test_a_broken_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "result.json").write_text("{")
    with pytest.raises(ValueError, match="seed0/result.json is no json"):
        read_results(tmp_path)


def test_the_paper_alone(table: Table) -> None:
    text = markdown_table(table)
    assert (
        "| S-α, α = 0.5 | RetinaNet | ResNet-50 | 1x | 37.5 | illegible | - | "
        "`s_alpha_fpn/retinanet_r50_s-alpha-fpn_1x_coco` "
        "`model.neck.fusion_factor=0.5` (one factor for all connections) |"
    ) in text
    assert "| quoted: from its own paper |" in text
    assert "not trained: distillation is not in this library" in text
    assert "AP50 | speed (milliseconds) |" in text
    assert text.endswith("\nall of it in small\n")
