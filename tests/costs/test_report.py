"""Tables of costs, the papers' claims beside them, and the necks that are measured."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

import fpn_necks.necks
from fpn_necks.costs import PairedTimes
from fpn_necks.costs.report import BASE, NECKS, benchmark, claims_of
from fpn_necks.costs.tables import Cost, csv_costs, markdown_costs, markdown_rows
from tests.costs.tiny import tiny_config

FPN = dict(neck=dict(type="FPN"), rpn_head=dict())


def cost(title: str, factor: float, **changes: Any) -> Cost:
    stages = ("backbone", "head", "whole")
    times = PairedTimes((0.010, 0.012), (0.010 * factor, 0.012 * factor))
    fields = dict(
        parameters={stage: int(1e6 * factor) for stage in stages},
        multiply_adds={stage: int(2e9 * factor) for stage in stages},
        times=dict.fromkeys((*stages, "training step"), times),
        memory={"whole": int(1e8 * factor)},
    )
    return Cost(title, **(fields | changes))


def cells(text: str, quantity: str, row: str) -> list[str]:
    (table,) = (t for t in text.split("\n\n") if f"| {quantity} |" in t)
    (line,) = (x for x in table.splitlines() if x.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_tables_of_detectors() -> None:
    claim = ("whole", "13.4 → 11.1 fps (Sec. 4.5)", 13.4 / 11.1)
    text = markdown_costs([cost("plain", 1), cost("ours", 1.5, claims=[claim])])
    assert cells(text, "parameters, M", "plain") == ["1.00"] * 3
    assert cells(text, "parameters, M", "ours") == ["1.50 (x1.50)"] * 3
    assert cells(text, "time, ms", "plain") == ["11.0"] * 4
    timed = "16.5, x1.50 (1.50 to 1.50)"
    assert cells(text, "time, ms", "ours") == [timed] * 4
    assert cells(text, "peak memory, MB", "ours") == ["150 (x1.50)"]
    claims = cells(text, "step", "ours")
    assert claims == ["whole", claim[1], "1.21", "1.50 (1.50 to 1.50)"]


def test_what_one_detector_has_not() -> None:
    other = cost("ours", 1, parameters={"neck": 5, "whole": 5})
    text = markdown_costs([cost("plain", 1), other])
    assert "parameters, M: backbone | parameters, M: neck" in text
    assert cells(text, "parameters, M", "plain")[1] == "-"
    assert cells(text, "parameters, M", "ours")[0] == "-"
    never = PairedTimes((0.0, 0.0), (0.001, 0.002))
    text = markdown_costs([cost("plain", 1), cost("ours", 1, times={"whole": never})])
    assert cells(text, "time, ms", "ours")[-1] in ("1.50", "-")


def test_numbers_as_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_costs([cost("ours", 1.5)]))))
    seconds = next(
        r for r in rows if (r["quantity"], r["part"]) == ("seconds", "whole")
    )
    assert float(seconds["value"]) == pytest.approx(0.0165)
    assert float(seconds["ratio"]) == pytest.approx(1.5)
    assert {row["quantity"] for row in rows} == {
        "parameters", "multiply_adds", "memory", "seconds",
    }  # fmt: skip


def test_cells_with_bars_stay_one_cell() -> None:
    assert markdown_rows(["a"], [["b | c\nd"]])[-1] == "| b \\| c d |"


# ------------------------------------------------------------------- the papers' claims


def texts(neck: Any, base: dict = FPN, **changes: Any) -> list[str]:
    model = dict(neck=neck, rpn_head=dict()) | changes
    return [text.split(" (")[0] for _, text, _ in claims_of(model, base)]


def test_ratios_are_of_time() -> None:
    model = dict(neck=dict(type="DRFPN"))
    ratios = [ratio for _, _, ratio in claims_of(model, FPN)]
    assert ratios == pytest.approx([12.4 / 12.2, 1.37 / 1.14])
    model = dict(neck=[dict(type="FPN"), dict(type="ASFF")])
    assert [r for _, _, r in claims_of(model, FPN)] == pytest.approx([50 / 46])


def test_stages_and_detector_choose_the_claim_on_cfg_fpn() -> None:
    for stages, rate in enumerate(("12", "11.4", "10.9"), 1):
        neck = dict(type="CFGFPN", cascade_times=stages)
        assert texts(neck) == [f"15.6 → {rate} fps"]
    assert texts(dict(type="CFGFPN")) == ["15.6 → 10.9 fps"]  # the default
    one_stage = texts(dict(type="CFGFPN", cascade_times=2), rpn_head=None)
    assert one_stage == ["15 → 11.7 fps"]


def test_only_what_the_base_has_not_and_one_change_at_a_time() -> None:
    augfpn = dict(type="AugFPN")
    assert texts(augfpn) == ["13.4 → 11.1 fps"]
    assert texts(augfpn, dict(neck=augfpn)) == []
    assert texts([augfpn, dict(type="ASFF")]) == []
    # The training time of AugFPN includes its auxiliary losses.
    auxiliary = dict(type="RoIAuxiliary")
    both = texts(augfpn, auxiliary=auxiliary)
    assert both == ["13.4 → 11.1 fps", "0.9 → 1.1 h per epoch"]
    assert texts(dict(type="DRFPN"), auxiliary=auxiliary) == ["12.2 → 12.4 ms"]


# -------------------------------------------------------------------- whole benchmarks


def test_necks_beside_fpn() -> None:
    setting, costs = benchmark(size=(64, 96), pairs=1, necks=["S-α"])
    assert "64x96, batch 1" in setting
    base, ours = costs
    assert (base.title, ours.title) == (BASE, "S-α FPN")
    assert base.parameters == ours.parameters
    assert base.multiply_adds == ours.multiply_adds
    text = markdown_costs(costs)
    (head, _, first, second) = text.splitlines()
    assert len({line.count("|") for line in (head, first, second)}) == 1
    assert "time, ms: forward + backward" in head


def test_every_neck_is_measured() -> None:
    measured = {stage["type"] for stages in NECKS.values() for stage in stages}
    assert set(fpn_necks.necks.__all__) - {"PyramidNeck"} <= measured


def test_a_detector_beside_itself_with_changes(tmp_path) -> None:
    path = tmp_path / "augfpn.py"
    tiny_config("retinanet_r50_augfpn_1x_coco").dump(path)
    said: list[str] = []
    changes = ("@model.neck.type=FPN,model.auxiliary=None", "@model.auxiliary=None", "")
    _, costs = benchmark(
        [f"{path}{change}" for change in changes], size=(64, 96), pairs=1,
        say=said.append,
    )  # fmt: skip
    plain, neck, both = costs
    assert [cost.title for cost in costs] == [
        "augfpn, neck.type=FPN,auxiliary=None", "augfpn, auxiliary=None", "augfpn",
    ]  # fmt: skip
    left_out = "  without model.neck.residual_to_extra_level: the new type does not"
    assert any(line.startswith(left_out) for line in said)
    assert plain.parameters["backbone"] == neck.parameters["backbone"]
    assert plain.parameters["neck"] < neck.parameters["neck"]
    assert neck.multiply_adds == both.multiply_adds
    assert neck.memory["whole"] == both.memory["whole"]
    assert both.memory["training step"] > neck.memory["training step"]
    assert plain.claims == () and len(neck.claims) == 1 and len(both.claims) == 2
