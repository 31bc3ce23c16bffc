"""Every number of docs/choose_a_neck.md: quoted, counted or measured again."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import Tensor, nn

import fpn_necks.necks
from fpn_necks.costs import (
    count_costs,
    count_multiply_adds,
    count_parameters,
    peak_memory,
)
from fpn_necks.reproduction import Table, load_tables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "choose_a_neck.md").read_text()
SIZE = (800, 1344)
WIDTHS = [256, 512, 1024, 2048]
FPN = dict(in_channels=WIDTHS, out_channels=256, num_outs=5)
ASFF = dict(type="ASFF", in_channels=256, out_channels=256)
NECKS: dict[str, list[dict[str, Any]]] = {
    "FPN": [dict(type="FPN", **FPN)],
    "S-α FPN": [dict(type="SAlphaFPN", fusion_factor=0.5, **FPN)],
    "CFG-FPN, 1 stage": [dict(type="CFGFPN", cascade_times=1, **FPN)],
    "CFG-FPN, 1 stage, rank 32": [dict(type="CFGFPN", cascade_times=1, rank=32, **FPN)],
    "CFG-FPN, 3 stages": [dict(type="CFGFPN", **FPN)],
    "CFG-FPN, 3 stages, rank 32": [dict(type="CFGFPN", rank=32, **FPN)],
    "FPN + ASFF": [dict(type="FPN", **FPN), ASFF],
    "AugFPN": [dict(type="AugFPN", **FPN)],
    "DRFPN": [dict(type="DRFPN", **FPN)],
}
# Row of the costs -> label and words of its time in the README's table.
TIMES = {
    "S-α FPN": ("S-α FPN", ""),
    "CFG-FPN, 1 stage": ("CFG-FPN", "one stage"),
    "CFG-FPN, 1 stage, rank 32": ("CFG-FPN", "rank 32: "),
    "FPN + ASFF": ("ASFF", ""),
    "AugFPN": ("AugFPN", ""),
    "DRFPN": ("DRFPN", ""),
}
DETECTORS = {
    "FPN, S-α FPN": ("{}_r50_s-alpha-fpn{}_1x_coco", ""),
    "CFG-FPN": ("{}_r50_cfg-fpn{}_1x_coco", ""),
    "FPN + ASFF": ("{}_r50_asff{}_1x_coco", ""),
    "AugFPN": ("{}_r50_augfpn{}_1x_coco", "4xb4-"),
    "DRFPN": ("{}_r50_drfpn{}_3xb8-1x_coco", ""),
}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a section's tables, without heads and rulers."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {i - 1 for i, line in enumerate(lines) if set(line) <= set("|-")}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for i, line in enumerate(lines)
        if i not in heads and i - 1 not in heads
    ]


QUOTES = [
    row
    for title in ("What the papers print", "When it does not help")
    for row in rows(section(title))
]


def build(name: str) -> nn.Module:
    register_all_modules()
    return nn.Sequential(*(MODELS.build(stage) for stage in NECKS[name])).eval()


def maps_of(size: tuple[int, int]) -> list[Tensor]:
    return [
        torch.rand(1, width, size[0] // 2 ** (2 + i), size[1] // 2 ** (2 + i))
        for i, width in enumerate(WIDTHS)
    ]


# ----------------------------------------------------------------------- quoted


@functools.cache
def tables() -> dict[str, Table]:
    return load_tables()


@pytest.mark.parametrize("row", QUOTES, ids=lambda row: f"{row[0]}: {row[5]}")
def test_quotes_are_the_papers(row: list[str]) -> None:
    _, table, metric, without, before, with_, after, change = row
    values = {r.name: r.values for r in tables()[table.strip("`")].rows}
    pair = [values[name][metric.strip("`")] for name in (without, with_)]
    decimals = len(change.split(".")[1])
    assert [float(before), float(after)] == pytest.approx(pair, abs=1e-9)
    assert change == f"{pair[1] - pair[0]:+.{decimals}f}"


def test_quotes_are_of_every_method_and_of_both_kinds() -> None:
    gains, losses = (
        rows(section("What the papers print")),
        rows(section("When it does not help")),
    )
    for method in ("S-α FPN", "CFG-FPN", "ASFF", "AugFPN", "DRFPN", "Auxiliary losses"):
        for found in (gains, losses):
            assert any(method in row[0] for row in found), method
    assert all(float(row[-1]) > 0 for row in gains)
    # Loses, or gains less than half a point, or is slower.
    slower = ("FPS", "time_in_seconds", "MR50_tiny")
    assert all(float(row[-1]) <= 0.5 or row[2].strip("`") in slower for row in losses)


# ---------------------------------------------------------------------- counted


def costs() -> Iterator[tuple[str, list[str]]]:
    for row in rows(section("What they cost")):
        if len(row) == 5:
            yield row[0], row[1:]


def test_parameters_and_multiply_adds_are_counted() -> None:
    found = {}
    for name in NECKS:
        with torch.device("meta"):
            neck, maps = build(name).requires_grad_(False), maps_of(SIZE)
        found[name] = (
            count_parameters(neck) / 1e6,
            count_multiply_adds(neck, maps) / 1e9,
        )
    plain, plain_counted = found.pop("FPN")
    assert f"`FPN` itself has {plain:.2f} M parameters, {plain_counted:.1f} G" in PAGE
    expected = {
        name: [f"{parameters - plain:+.2f}", f"{counted:.1f}"]
        for name, (parameters, counted) in found.items()
    }
    assert {name: cells[:2] for name, cells in costs()} == expected


def test_times_are_those_of_the_readme() -> None:
    table = {
        line.split("]")[0][3:]: line.rsplit("|", 2)[1]
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("| [")
    }
    for name, cells in costs():
        if name not in TIMES:
            assert cells[2] == "not measured"
            continue
        label, words = TIMES[name]
        assert f"{words if 'rank' in words else ''}{cells[2]}" in table[label]
        assert words.split(":")[0] in table[label]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_memory_is_measured_again() -> None:
    maps = [x.requires_grad_() for x in maps_of(SIZE)]

    def peak(name: str) -> int:
        neck = build(name)

        def step() -> None:
            sum(output.sum() for output in neck(maps)).backward()
            # What the next call would give back is not to count as its own.
            neck.zero_grad(set_to_none=True)
            for x in maps:
                x.grad = None

        return peak_memory(step)

    plain = peak("FPN")
    (written,) = re.findall(r"multiply-adds and (\d+) MB", PAGE)
    # The libraries' work space for convolutions depends on the processor.
    assert plain / 1e6 == pytest.approx(int(written), rel=0.1)
    for name, cells in costs():
        assert peak(name) / plain == pytest.approx(float(cells[3]), rel=0.1), name


def test_detectors_are_those_of_the_model_zoo() -> None:
    zoo = {}
    for line in (ROOT / "docs" / "model_zoo.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| [") and len(cells) > 8:
            name = cells[0][1:].split("]")[0]
            zoo[name] = f"{cells[6].split()[0]}, {cells[7].split()[0]}"
    found = {
        row[0]: row[1:] for row in rows(section("What they cost")) if len(row) == 4
    }
    assert set(found) == set(DETECTORS)
    for label, (pattern, batch) in DETECTORS.items():
        names = [
            pattern.format(detector, extra)
            for detector, extra in (
                ("faster-rcnn", ""),
                ("retinanet", ""),
                ("fcos", "_gn-head"),
            )
        ]
        if batch:
            names[2] = names[2].replace("_1x_", f"_{batch}1x_")
        assert found[label] == [zoo[name] for name in names], label


@pytest.mark.parametrize(
    ("column", "config"),
    [
        (1, "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
        (2, "retinanet/retinanet_r50_fpn_1x_coco.py"),
    ],
)
def test_fpn_costs_what_s_alpha_fpn_does(column: int, config: str) -> None:
    folder = Path(mmdet.__file__).parent / ".mim" / "configs"
    cost = count_costs(Config.fromfile(folder / config), [SIZE])
    (row,) = (r for r in rows(section("What they cost")) if r[0] == "FPN, S-α FPN")
    written = f"{cost.parameters / 1e6:.2f}, {cost.multiply_adds[SIZE] / 1e9:.1f}"
    assert row[column] == written


def test_auxiliary_losses_cost_what_their_page_says() -> None:
    text = " ".join(section("What they cost").split())
    page = (ROOT / "configs" / "auxiliary" / "README.md").read_text()
    dense, two_stage = re.search(
        r"takes ([\d.]+) times .* and ([\d.]+) times", text
    ).groups()
    assert f"| RetinaNet | dense, C2 to C4 | +1.0 M | {dense} (" in page
    assert re.search(rf"RoIs on all laterals.*\| {re.escape(two_stage)} \(", page)


# ----------------------------------------------------------------- said in words


def test_no_other_number_is_on_the_page() -> None:
    """What the words repeat must stand in one of the checked tables."""
    checked = {cell for row in QUOTES for cell in (row[4], row[6], row[7])}
    words = "\n".join(
        line
        for line in PAGE.splitlines()
        if not line.startswith("|") or line in section("By situation")
    )
    words = re.sub(r"`[^`]*`", "", words)
    # Costs in words have tests of their own.
    words = re.sub(r"itself has .* MB|takes [\d.]+ times|and [\d.]+ times", "", words)
    for number in re.findall(r"[+-]?\d+\.\d+", words):
        assert number in checked, number


@pytest.mark.parametrize(
    ("words", "row"),
    [
        ("+1.78 AP50 in RetinaNet", ("s-alpha-table-4", "RetinaNet with S-α")),
        (
            "+2.3 AP in Faster R-CNN",
            ("augfpn-table-1", "Faster R-CNN ResNet-50 1x with AugFPN"),
        ),
        (
            "+2.2 AP in Faster R-CNN",
            ("drfpn-table-1", "Faster R-CNN ResNet-50 1x with DRFPN"),
        ),
        ("+1.6 and", ("augfpn-table-1", "RetinaNet ResNet-50 1x with AugFPN")),
        ("and +1.5 AP", ("asff-table-5", "R50-FPN + ASFF")),
        ("+3.0 AP in FCOS", ("yslao-table-3", "FCOS, ResNet-50, CFG-FPN")),
        ("AugFPN +0.9", ("augfpn-table-1", "FCOS ResNet-50 1x with AugFPN")),
        (
            "+3.5 AP in Cascade Mask R-CNN",
            ("yslao-table-3", "Cascade Mask R-CNN, ResNeXt-101-64x4d, CFG-FPN"),
        ),
        (
            "+1.7 in Faster R-CNN",
            ("drfpn-table-1", "Faster R-CNN ResNeXt-101-64x4d 1x with DRFPN"),
        ),
        (
            "+1.6 AP in RetinaNet",
            ("yslao-table-1", "RetinaNet, auxiliary losses with uncertainty"),
        ),
        (
            "+1.4 in Faster R-CNN",
            ("yslao-table-1", "Faster R-CNN, auxiliary losses with uncertainty"),
        ),
    ],
)
def test_claims_of_the_decision_table(words: str, row: tuple[str, str]) -> None:
    assert words in section("By situation")
    (quote,) = (q for q in QUOTES if (q[1].strip("`"), q[5]) == row)
    assert quote[-1] in words


def change(with_: str, without: str | None = None) -> float:
    (row,) = (q for q in QUOTES if q[5] == with_ and without in (None, q[3]))
    return float(row[-1])


def test_claims_without_numbers() -> None:
    # "worth more than any neck", "less than half", "shrinks with ResNet-101"
    tiny_person = [float(q[-1]) for q in QUOTES if q[1] == "`s-alpha-table-4`"]
    assert change("RetinaNet, P2-P6") == max(tiny_person)
    assert change("RFA") < change("CS + RFA + SRS") / 2
    assert change("S-α, ResNet-101", "RetinaNet, ResNet-101") < change(
        "RetinaNet with S-α"
    )
    # "a third of the additional parameters, and rank=32 about a quarter of the rest"
    more = {name: float(cells[0]) for name, cells in costs()}
    whole, one = more["CFG-FPN, 3 stages"], more["CFG-FPN, 1 stage"]
    assert one / whole == pytest.approx(1 / 3, abs=0.01)
    assert more["CFG-FPN, 1 stage, rank 32"] / one == pytest.approx(1 / 4, abs=0.01)
    # "more parameters than the rest of the detector"
    neck = dict(NECKS["CFG-FPN, 3 stages"][0], start_level=1)
    with torch.device("meta"):
        parameters = count_parameters(MODELS.build(neck)) / 1e6
    assert parameters > 194.32 - parameters
    # "two to three times as much"
    memory = {name: float(cells[3]) for name, cells in costs()}
    for name in ("CFG-FPN, 3 stages", "FPN + ASFF", "DRFPN"):
        assert 2 <= memory[name] <= 3


def test_every_neck_is_a_choice() -> None:
    table = section("By situation")
    for neck in set(fpn_necks.necks.__all__) - {"PyramidNeck"}:
        assert re.sub(r"^SAlpha", "S-α ", neck).replace("CFG", "CFG-") in table, neck
