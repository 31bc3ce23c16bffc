"""The report: paper, ours, difference; what is not run, quoted, not comparable."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import matplotlib.axes
import matplotlib.figure
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fpn_necks.reproduction import Table, load_tables
from fpn_necks.reproduction.drawing import draw_report
from fpn_necks.reproduction.planning import Request, choose_rows, plan_runs
from fpn_necks.reproduction.reporting import (
    gather,
    json_report,
    markdown_report,
    markdown_table,
)
from fpn_necks.reproduction.results import read_progress, read_results, write_json
from tests.reproduction.tiny_table import tiny_table

SLUG = "s-alpha-alpha-0.5"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return tiny_table(tmp_path_factory.mktemp("reporting"))


def measure(
    table: Table, folder: Path, slug: str, values: list[float], **options: Any
) -> None:
    """Write results as the worker does, one per value of AP, with seeds 0, 1, ..."""
    request = Request(folder, seeds=tuple(range(len(values))), **options)
    for run, value in zip(
        plan_runs(table, choose_rows(table, [slug]), request), values, strict=True
    ):
        metrics = {"coco/bbox_mAP": value, "coco/bbox_mAP_50": -1.0}
        result = run.facts | dict(
            metrics=metrics,
            wall_time_s=7200.0,
            finished="2026-01-02T03:04:05+00:00",
            versions=dict(torch="2.0", mmdet="3.3.0"),
            device="cpu",
        )
        write_json(run.folder / "result.json", result)
        write_json(run.folder / "run.json", run.facts)


def line_of(text: str, row: str) -> list[str]:
    (line,) = [
        line
        for line in text.split("## ")[0].splitlines()
        if line.startswith(f"| {row} |")
    ]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_nothing_was_run(table: Table, tmp_path: Path) -> None:
    text = markdown_report(table, gather(table, tmp_path))
    assert line_of(text, "FPN") == [
        "FPN", "-", "36.5 / not run / -", "55.4 / not run / -", "20.0 / not run / -",
        "not run",
    ]  # fmt: skip
    assert line_of(text, "S-α, α = 0.5")[3] == "illegible / not run / -"
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
    reports = gather(table, tmp_path)
    text = markdown_report(table, reports)
    # Of 36, 37, 41: mean 38, standard deviation sqrt((4 + 1 + 9) / 2) = 2.6458
    assert line_of(text, "FPN")[1:4] == [
        "0, 1, 2", "36.5 / 38.00 ± 2.65 / +1.50", "55.4 / - / -",
    ]  # fmt: skip
    assert line_of(text, "FPN")[-1] == "measured"
    by_run = text.split("## Run by run")[1]
    assert "| FPN | 2 | 41.00 | - | - | 2 (the config: 16) |" in by_run
    assert "0.00125 (scaled from 0.01)" in by_run and "2.00 h" in by_run
    assert "Versions: torch 2.0, mmdet 3.3.0." in by_run
    content = json.loads(json.dumps(json_report(table, reports)))
    row = content["rows"][0]
    assert row["status"] == "measured" and row["paper"]["AP"] == 36.5
    (group,) = row["measured"]
    assert group["comparable"] and group["seeds"] == [0, 1, 2]
    found = group["metrics"]["AP"]
    assert found["values"] == pytest.approx([36, 37, 41])
    assert found["std"] == pytest.approx(7**0.5)
    assert found["difference"] == pytest.approx(1.5)
    assert group["metrics"]["AP50"]["values"] == [None] * 3  # -1 is no number
    assert [r["seed"] for r in group["runs"]] == [0, 1, 2]


def test_one_seed_has_no_deviation(table: Table, tmp_path: Path) -> None:
    measure(table, tmp_path, "fpn", [0.36])
    text = markdown_report(table, gather(table, tmp_path))
    assert line_of(text, "FPN")[2] == "36.5 / 36.00 / -0.50"


def test_overridden_runs_are_marked(table: Table, tmp_path: Path) -> None:
    measure(
        table, tmp_path, SLUG, [0.5], data_root="small/",
        overrides={"train_cfg.max_epochs": 1},
    )  # fmt: skip
    reports = gather(table, tmp_path)
    cells = line_of(markdown_report(table, reports), "S-α, α = 0.5")
    assert cells[2] == "37.5 / 50.00 / -"
    assert cells[-1].startswith("**not comparable**: data set, schedule")
    text = markdown_report(table, reports).split("## Not comparable")[1]
    assert "\nS-α, α = 0.5 (seed 0):\n" in text
    assert "\n- `schedule: train_cfg.max_epochs 12 -> 1`\n" in text
    group = json_report(table, reports)["rows"][1]["measured"][0]
    assert not group["comparable"] and group["metrics"]["AP"]["difference"] is None


def test_other_settings_are_not_averaged(table: Table, tmp_path: Path) -> None:
    measure(table, tmp_path, "fpn", [0.1, 0.2], overrides={"train_cfg.max_epochs": 1})
    measure(table, tmp_path, "fpn", [0.36])
    (report, *_) = gather(table, tmp_path)
    assert [group.seeds for group in report.groups] == [[0], [1]]
    assert report.status == "measured"
    assert report.groups[0].metrics["AP"].difference == pytest.approx(-0.5)
    assert report.groups[1].metrics["AP"].difference is None


def test_unfinished_runs_say_how_far_they_are(table: Table, tmp_path: Path) -> None:
    folder = tmp_path / table.id / "fpn" / "seed4"
    write_json(folder / "run.json", {})
    assert gather(table, tmp_path)[0].status == "unfinished: seed4 at the start"
    for start, text in (
        ("20250101_000000", '{"iter": 900, "step": 900, "epoch": 9}\n'),
        (
            "20260101_000000",
            '{"iter": 50, "step": 150, "epoch": 2}\n{"coco/m": 1}\n{"i',
        ),
    ):
        log = folder / start / "vis_data" / "scalars.json"
        log.parent.mkdir(parents=True)
        log.write_text(text)
    assert read_progress(folder) == "epoch 2, iteration 150"
    report = gather(table, tmp_path)[0]
    assert report.status == "unfinished: seed4 at epoch 2, iteration 150"
    cells = line_of(markdown_report(table, [report]), "FPN")
    assert cells[2] == "36.5 / unfinished / -"


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
    assert "not trained here: distillation is not in this library" in text
    assert "AP50 | speed (milliseconds) |" in text
    assert text.endswith("\nall of it in small\n")


def test_picture(table: Table, tmp_path: Path) -> None:
    measure(table, tmp_path, "fpn", [0.36, 0.37])
    path = tmp_path / "report.png"
    assert draw_report(table, gather(table, tmp_path), path)
    first = cv2.imread(str(path))
    assert first.std() > 5
    measure(table, tmp_path, SLUG, [0.30], data_root="small/")
    assert draw_report(table, gather(table, tmp_path), path)
    assert cv2.imread(str(path)).shape == first.shape
    assert (cv2.imread(str(path)) != first).any()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.png", table.id]


def measure_sweep(table: Table, folder: Path, rows: list[str]) -> None:
    """Write results of two seeds, 2 points apart, that rise with α."""
    for slug in rows:
        alpha = float(slug.removeprefix("alpha-"))
        request = Request(folder, seeds=(0, 1))
        runs = plan_runs(table, choose_rows(table, [slug]), request)
        for seed, run in enumerate(runs):
            value = 0.4 + 0.1 * alpha + 0.02 * seed
            names = [metric.log for metric in table.metrics if metric.log]
            facts = dict(wall_time_s=1.0, finished="2026-01-02T03:04:05+00:00")
            facts |= dict(versions={}, device="cpu")
            facts |= dict(metrics=dict.fromkeys(names, value))
            write_json(run.folder / "result.json", run.facts | facts)


def test_a_sweep_is_drawn_as_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = load_tables()["s-alpha-figure-1-tinyperson"]
    measure_sweep(table, tmp_path, ["alpha-1.1", "alpha-0", "alpha-0.5"])
    drawn: list[tuple] = []
    errorbar = matplotlib.axes.Axes.errorbar

    def keep(axes, x, y, yerr, **options):
        drawn.append((x, y, yerr, axes.get_xlabel()))
        return errorbar(axes, x, y, yerr, **options)

    monkeypatch.setattr(matplotlib.axes.Axes, "errorbar", keep)
    assert draw_report(table, gather(table, tmp_path), tmp_path / "report.png")
    ((x, y, spread, _),) = drawn
    assert x == (0.0, 0.5, 1.1)
    assert y == pytest.approx((41.0, 46.0, 52.0))
    assert spread == pytest.approx([2**0.5] * 3)  # of two seeds, 2 points apart


@pytest.mark.parametrize(
    "name", ["augfpn-table-1", "s-alpha-table-4", "asff-table-4", "s-alpha-figure-7"]
)
def test_no_text_of_a_picture_overlaps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest tables that there are, and the sweep of the most metrics."""
    table = load_tables()[name]
    if "figure" in name:  # of those the paper's numbers are lost
        measure_sweep(table, tmp_path, ["alpha-0", "alpha-0.5", "alpha-1.1"])
    figures: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig

    def keep(figure: matplotlib.figure.Figure, *arguments, **options) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    assert draw_report(table, gather(table, tmp_path), tmp_path / "report.png")
    (figure,) = figures
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # the file was written in another resolution
    renderer = figure.canvas.get_renderer()
    texts = [figure._suptitle, *figure.legends[0].get_texts()]
    for axes in figure.axes:
        if axes.get_visible():
            low, high = axes.get_xlim()
            ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            texts.append(axes.xaxis.label)
            texts += [text for place, text in ticks if low <= place <= high]
            low, high = sorted(axes.get_ylim())
            # Of axes that share theirs only the first has labels.
            ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=False)
            texts += [
                text
                for place, text in ticks
                if low <= place <= high and text.get_visible()
            ]
    boxes = [t.get_window_extent(renderer) for t in texts if t.get_text()]
    boxes = [box for box in boxes if box.width and box.height]
    assert len(boxes) > 10
    for one, other in itertools.combinations(boxes, 2):
        overlap = one.intersection(one, other)
        assert overlap is None or overlap.width * overlap.height < 1, (one, other)
    whole = figure.bbox
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= whole.x1 + 1 and box.y1 <= whole.y1 + 1
