"""docs/choose_a_neck.md: costs are counted or measured again, gains are quoted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from mmdet.utils import register_all_modules
from torch import Tensor, nn

from fpn_necks.costs import count_multiply_adds, count_parameters
from fpn_necks.costs.report import BASE, CHANNELS, NECKS, build_neck

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "choose_a_neck.md").read_text()
SIZE = (800, 1344)
OURS = {name: stages for name, stages in NECKS.items() if "mmdet" not in name}


def build(stages: list[dict[str, Any]]) -> nn.Module:
    register_all_modules()
    return build_neck(stages)


def costs() -> dict[str, list[str]]:
    section = PAGE.split("\n## Costs\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    lines = [row.strip("| ").split(" | ") for row in rows]
    return {name: cells for name, *cells in lines[2:]}


def backbone_maps() -> list[Tensor]:
    return [
        torch.rand(1, width, SIZE[0] // 2 ** (2 + i), SIZE[1] // 2 ** (2 + i))
        for i, width in enumerate(CHANNELS)
    ]


def count(stages: list[dict[str, Any]]) -> tuple[float, float]:
    with torch.device("meta"):
        neck, maps = build(stages).requires_grad_(False), backbone_maps()
    return count_parameters(neck) / 1e6, count_multiply_adds(neck, maps) / 1e9


def test_parameters_and_multiply_adds_are_counted() -> None:
    parameters, multiply_adds = count(NECKS[BASE])
    assert f"{parameters:.2f} M parameters, {multiply_adds:.1f} G" in PAGE
    assert set(costs()) == set(OURS)
    for name, stages in OURS.items():
        more, counted = count(stages)
        assert costs()[name][:2] == [f"{more - parameters:+.2f}", f"{counted:.1f}"]


def test_gains_are_those_of_the_methods_pages() -> None:
    """A gain is the difference of two numbers that a method's page quotes."""
    texts = [p.read_text() for p in (ROOT / "docs" / "methods").glob("*.md")]
    pairs = re.findall(r"\| ([\d.]+) \| ([\d.]+) \|$", "\n".join(texts), re.MULTILINE)
    quoted = {f"{float(after) - float(before):+.2f}" for before, after in pairs}
    for page in (PAGE, (ROOT / "README.md").read_text()):
        for gain in re.findall(r"\+\d+\.\d+ (?:AP|and|in)", page):
            assert f"{float(gain.split()[0]):+.2f}" in quoted, gain
