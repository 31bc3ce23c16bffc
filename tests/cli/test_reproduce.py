"""The command line: what it prints, runs, writes and refuses; docs/reproduce.md."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fpn_necks.cli import main
from fpn_necks.reproduction import run as running
from fpn_necks.reproduction.plan import CONFIG_FILE, RESULT_FILE, RUN_FILE
from fpn_necks.reproduction.run import OUTPUT_FILE
from tests.reproduction.tiny_table import (
    in_this_process,
    small_options,
    tables_folder,
    written,
)
from tests.tiny_sets import write_coco_set

ROOT = Path(__file__).parents[2]
TABLE = "tiny-table-1"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    tmp_path: Path, capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:  # fmt: skip
    """Run the command in this process, in a folder of its own, on the tiny table."""
    monkeypatch.chdir(tmp_path)
    tables = tables_folder(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["reproduce", "--tables", str(tables), *map(str, arguments)])
        signal.signal(signal.SIGTERM, before)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    write_coco_set(tmp_path / "set", num_images=2)
    values = small_options(tmp_path / "set") | {"train_cfg.max_epochs": 1}
    return [f"{key}={written(value)}" for key, value in values.items()]


def test_list_and_show(run: Run) -> None:
    status, output, _ = run("list")
    assert status == 0
    assert output.splitlines()[1].split()[:4] == [TABLE, "2", "1", "1"]
    status, output, _ = run("show", TABLE)
    assert status == 0 and output.startswith("# FPN and S-α FPN in small\n")


def test_run_and_report(
    run: Run, options: list[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(running, "execute_command", in_this_process)
    words = ("run", TABLE, "--rows", "fpn", "--cfg-options", *options)
    status, output, errors = run(*words)
    assert status == 0, errors
    assert output.startswith("1 of 1: FPN, seed 0; output: ")
    assert "1 finished, 0 failed" in output.splitlines()[-1]
    status, output, _ = run(*words)
    assert status == 0 and "FPN, seed 0: finished before" in output
    status, output, _ = run("report", TABLE)
    assert status == 0
    folder = tmp_path / "work_dirs/reproduction" / TABLE
    text = (folder / "report.md").read_text()
    assert text.strip() in output
    assert "not comparable: " in text and "not run" in text
    result = json.loads((folder / "fpn/seed0/result.json").read_text())
    assert f"/ {100 * result['metrics']['coco/bbox_mAP']:.2f} /" in text


def test_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    status, output, _ = run(
        "run", TABLE, "--dry-run", "--data-root", "no", "--launcher", "slurm",
        "--gpus", 8, "--images-per-second", 10, "--seeds", 0, 0,
        "--cfg-options", "train_cfg.max_epochs=3",
    )  # fmt: skip
    assert status == 0
    assert "not comparable: train_cfg.max_epochs 12 -> 3" in output
    assert "2 of 2: S-α, α = 0.5, seed 0\n" in output
    assert "  training images: 354,861, 9.9 GPU hours at 10 a second\n" in output
    assert "  option: model.neck.fusion_factor=0.5\n" in output
    assert "  batch: 16 on 8 process(es)\n  learning rate: 0.01\n" in output
    assert output.count("  command: srun ") == 2
    assert "  data: no/annotations/instances_train2017.json is missing" in output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_row_is_status_1(run: Run, options: list[str], monkeypatch) -> None:
    monkeypatch.setattr(running, "execute_command", lambda *_: 5)
    status, output, errors = run("run", TABLE, "--cfg-options", *options)
    assert status == 1 and output.splitlines()[-1] == "0 finished, 2 failed"
    assert [line.split(": ")[1] for line in errors.splitlines()] == [
        "FPN, seed 0", "S-α, α = 0.5, seed 0",
    ]  # fmt: skip


def test_ctrl_c_says_how_to_go_on(run: Run, options: list[str], monkeypatch) -> None:
    def stop(*_) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "execute_command", stop)
    status, _, errors = run("run", TABLE, "--cfg-options", *options)
    assert status == 130
    assert errors == "interrupted\n"


def test_page_names_the_files_of_a_run() -> None:
    text = (ROOT / "docs" / "reproduce.md").read_text()
    for name in (CONFIG_FILE, RUN_FILE, RESULT_FILE, OUTPUT_FILE):
        assert f"`{name}`" in text
    assert "work_dirs/reproduction" in text
