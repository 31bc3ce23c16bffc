"""The report: paper, ours, difference; what is not run, quoted, not comparable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fpn_necks.io import write_json
from fpn_necks.reproduction import Table
from fpn_necks.reproduction.plan import choose_rows, plan_runs
from fpn_necks.reproduction.report import gather, markdown_report, markdown_table
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
    assert '{"torch": "2.0", "mmdet": "3.3.0"} |' in by_run


def test_overridden_runs_are_marked(table: Table, tmp_path: Path) -> None:
    measure(
        table, tmp_path, SLUG, [0.5], data_root="small/",
        options={"train_cfg.max_epochs": 1, "train_dataloader.dataset.indices": 10},
    )  # fmt: skip
    text = markdown_report(table, gather(table, tmp_path))
    cells = line_of(text, "S-α, α = 0.5")
    assert cells[2] == "37.5 / 50.00 / -"
    assert cells[-1] == "not comparable: train_cfg, train_dataloader"
    details = text.split("\nS-α, α = 0.5 (seed 0) is not comparable:\n")[1]
    assert "\n- `train_cfg.max_epochs 12 -> 1`\n" in details


def test_other_settings_are_not_averaged(table: Table, tmp_path: Path) -> None:
    """Those of moved data are the same."""
    changed = {"train_cfg.max_epochs": 1}
    measure(table, tmp_path, "fpn", [0.1, 0.1, 0.2], options=changed)
    measure(table, tmp_path, "fpn", [0.36, 0.36])
    measure(table, tmp_path, "fpn", [0.36], data_root="/another/disk")
    first, second = gather(table, tmp_path)[:2]
    assert (first.seeds, second.seeds) == ("0, 1", "2")
    # One seed has no deviation, what is not comparable no difference.
    assert first.numbers(table.metrics[0]) == pytest.approx((36.0, 0.0, -0.5))
    assert second.numbers(table.metrics[0]) == (pytest.approx(20.0), None, None)


def test_unfinished_runs(table: Table, tmp_path: Path) -> None:
    write_json(tmp_path / table.id / "fpn" / "seed4" / "run.json", {})
    assert gather(table, tmp_path)[0].status == "unfinished"


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
