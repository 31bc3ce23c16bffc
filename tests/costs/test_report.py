"""Tables of costs, and the necks that are measured."""

from __future__ import annotations

from typing import Any

import fpn_necks.necks
from fpn_necks.costs import PairedTimes
from fpn_necks.costs.report import BASE, NECKS, benchmark
from fpn_necks.costs.tables import Cost, markdown_costs, markdown_rows
from tests.costs.tiny import tiny_config


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
    text = markdown_costs([cost("plain", 1), cost("ours", 1.5)])
    assert cells(text, "parameters, M", "plain") == ["1.00"] * 3
    assert cells(text, "parameters, M", "ours") == ["1.50 (x1.50)"] * 3
    assert cells(text, "time, ms", "plain") == ["11.0"] * 4
    timed = "16.5, x1.50 (1.50 to 1.50)"
    assert cells(text, "time, ms", "ours") == [timed] * 4
    assert cells(text, "peak memory, MB", "ours") == ["150 (x1.50)"]


def test_what_one_detector_has_not() -> None:
    other = cost("ours", 1, parameters={"neck": 5, "whole": 5})
    text = markdown_costs([cost("plain", 1), other])
    assert "parameters, M: backbone | parameters, M: neck" in text
    assert cells(text, "parameters, M", "plain")[1] == "-"
    assert cells(text, "parameters, M", "ours")[0] == "-"
    never = PairedTimes((0.0, 0.0), (0.001, 0.002))
    text = markdown_costs([cost("plain", 1), cost("ours", 1, times={"whole": never})])
    assert cells(text, "time, ms", "ours")[-1] in ("1.50", "-")


def test_cells_with_bars_stay_one_cell() -> None:
    assert markdown_rows(["a"], [["b | c\nd"]])[-1] == "| b \\| c d |"


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
    plain = "@model.auxiliary=None"
    fpn = f"{plain},model.neck.fusion_factor=learnable"
    _, costs = benchmark(
        [f"{path}{change}" for change in (plain, fpn, "")], size=(64, 96), pairs=2
    )
    neck, learnable, both = costs
    assert [cost.title for cost in costs] == [
        "augfpn, auxiliary=None",
        "augfpn, auxiliary=None, neck.fusion_factor=learnable",
        "augfpn",
    ]
    assert neck.parameters["backbone"] == learnable.parameters["backbone"]
    assert neck.parameters["neck"] < learnable.parameters["neck"]
    # Auxiliary losses cost training, and nothing else.
    assert neck.multiply_adds == both.multiply_adds
    assert neck.memory["whole"] == both.memory["whole"]
    assert both.memory["training step"] > neck.memory["training step"]
    assert both.parameters.keys() - neck.parameters.keys() == {"auxiliary losses"}
    parts = [n for part, n in both.parameters.items() if part != "whole"]
    assert both.parameters["whole"] == sum(parts)
    # Each beside the first.
    stages = ["backbone", "neck", "head", "post-processing", "whole", "training step"]
    assert list(both.times) == stages
    for stage in stages:
        assert neck.times[stage].ratios == [1, 1]
        assert both.times[stage].base == neck.times[stage].other
