"""Tables and picture of made-up numbers."""

import copy
from pathlib import Path

import pytest

from fpn_necks.costs.detector_picture import draw_detector_costs, picture_formats
from fpn_necks.costs.detector_report import (
    claims_table,
    markdown_tables,
    short_number,
)
from fpn_necks.costs.paper_claims import CLAIMS

STAGES = ("backbone", "neck", "head", "post-processing")


def times(milliseconds: float, ratio: float | None) -> dict:
    if ratio is None:
        return dict(milliseconds=milliseconds, ratio=None)
    interval = [ratio - 0.1, ratio + 0.1]
    return dict(milliseconds=milliseconds, ratio=ratio, ratio_interval=interval)


def detector(title: str, ratio: float) -> dict:
    counts = {stage: 1e7 * ratio for stage in STAGES}
    return dict(
        title=title,
        parameters={s: 1_000_000 for s in STAGES[:3]} | {"whole": 3_000_000},
        multiply_adds={s: 2e9 * ratio for s in STAGES} | {"whole": 8e9 * ratio},
        inference={s: times(10.0 * ratio, ratio) for s in STAGES}
        | {"whole": times(40.0 * ratio, ratio)},
        inference_peak_bytes=counts | {"whole": 1e7 * ratio},
        train_step=times(2000.0 * ratio, ratio),
        train_step_peak_bytes=5e8 * ratio,
        boxes_per_image=80.0,
    )


@pytest.fixture
def results() -> dict:
    return dict(
        setting="how it was measured",
        detectors=[detector("plain", 1.0), detector("ours | mine", 1.5)],
    )


def cells(text: str, title: str, row: str) -> list[str]:
    table = text.split(f"{title}\n\n")[1].split("\n\n")[0]
    line = next(line for line in table.splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_tables(results: dict) -> None:
    text = markdown_tables(results)
    assert text.startswith("how it was measured")
    assert cells(text, "Parameters, millions", "plain") == ["1.00"] * 3 + ["3.00"]
    assert cells(text, "Time of inference, ms", "plain") == ["10.0"] * 4 + ["40.0"]
    ours = cells(text, "Time of inference, ms", "ours / mine")  # one column each
    assert ours == ["15.0, x1.50 (1.40 to 1.60)"] * 4 + ["60.0, x1.50 (1.40 to 1.60)"]
    memory = cells(text, "Peak memory of inference, MB", "ours")
    assert memory == ["15.0 (x1.50)"] * 5
    training = cells(text, "A step of training", "ours")
    assert training == ["3000", "1.50 (1.40 to 1.60)", "750", "1.50"]
    assert cells(text, "A step of training", "plain") == ["2000", "1", "500", "1"]


def test_what_a_detector_has_not(results: dict) -> None:
    plain, ours = results["detectors"]
    for key in ("parameters", "multiply_adds", "inference", "inference_peak_bytes"):
        del plain[key]["neck"]
    ours["inference"]["neck"] = times(3.0, None)
    ours["parameters"]["auxiliary losses"] = 500_000
    del plain["train_step"], ours["train_step"]
    text = markdown_tables(results)
    assert cells(text, "Time of inference, ms", "plain")[1] == "none"
    assert cells(text, "Time of inference, ms", "ours")[1] == "3.00"
    assert cells(text, "Parameters, millions", "ours")[3] == "0.500"
    assert cells(text, "Parameters, millions", "plain")[1:4] == ["none", "1.00", "none"]
    assert "training" not in text


def test_claims_stand_beside_what_was_measured() -> None:
    rows = [("ours", CLAIMS[0], times(5, 1.3)), ("ours", CLAIMS[1], None)]
    inference, training = claims_table(rows).splitlines()[-2:]
    assert "| inference | 13.4 → 11.1 fps | 1.21 | 1.30 (1.20 to 1.40) |" in inference
    assert "| training | 0.9 → 1.1 h per epoch | 1.22 | not measured |" in training


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (38.02, "38.0"),
        (0.01234, "0.0123"),
        (99.94, "99.9"),
        (99.96, "100"),
        (1234.6, "1235"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short_number(value) == text


@pytest.mark.parametrize("train", [True, False])
def test_picture(results: dict, tmp_path: Path, train: bool) -> None:
    results = copy.deepcopy(results)
    if not train:
        for entry in results["detectors"]:
            del entry["train_step"], entry["train_step_peak_bytes"]
    path = tmp_path / "costs.svg"
    draw_detector_costs(results, path)
    text = path.read_text()
    # Without fonts in the file, its words stand in comments.
    for word in ("plain", "neck", "post-processing", "Time of inference (ms)"):
        assert f"<!-- {word} -->" in text
    assert "<!-- 60.0  ×1.50 -->" in text and "<!-- (1.40 to 1.60) -->" in text
    assert ("<!-- Time of a step of training (ms) -->" in text) == train
    draw_detector_costs(results, tmp_path / "costs.png")
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")


def test_picture_formats() -> None:
    assert {"png", "svg", "pdf"} <= picture_formats()
