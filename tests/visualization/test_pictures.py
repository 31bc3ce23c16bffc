"""Every kind of picture: it is written, says what it should, and can be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fpn_necks.visualization.asff import collect_asff_weights, draw_asff_weights
from fpn_necks.visualization.detections import collect_detections, draw_found
from fpn_necks.visualization.features import collect_features, draw_features
from fpn_necks.visualization.figures import wrap
from fpn_necks.visualization.fusion_factors import draw_factors, read_factors
from fpn_necks.visualization.grouping import collect_grouping, draw_grouping
from fpn_necks.visualization.sampling import collect_sampling, draw_sampling
from fpn_necks.visualization.soft_roi import (
    collect_soft_roi_weights,
    draw_soft_roi_shares,
)
from fpn_necks.visualization.uncertainty import collect_uncertainty, draw_uncertainty
from tests.visualization.pictures import (
    ASFF_ON_S_ALPHA,
    CFG,
    DENSE,
    DRFPN,
    ROIS,
    SOFT_ROI,
    check_picture,
    keep_figures,
)

Look = Callable[[str], tuple]
LONG = "retinanet_r50_a_neck_of_a_rather_long_name_3xb8-1x_coco"

IN_CORE = ("asff", "soft-roi", "detections")

KINDS = {
    "features": (ASFF_ON_S_ALPHA, collect_features, draw_features),
    "asff": (ASFF_ON_S_ALPHA, collect_asff_weights, draw_asff_weights),
    "sampling": (DRFPN, collect_sampling, draw_sampling),
    "grouping": (CFG, collect_grouping, draw_grouping),
    "detections": ("plain", collect_detections, draw_found),
    "places": (DENSE, collect_uncertainty, draw_uncertainty),
    "rois": (ROIS, collect_uncertainty, draw_uncertainty),
    "soft-roi": (
        SOFT_ROI,
        lambda model, view: collect_soft_roi_weights(model, [view]),
        draw_soft_roi_shares,
    ),
}
SAID = {
    "features": {"C2: stride 4, 16 channels", "M3: stride 8, 32 channels", "P: ASFF"},
    "asff": {"fused P4", "weight", "0.0", "1.0"},
    "sampling": {
        "P4 → P3",
        "weight ω of what is sampled",
        "P5 resized, as FPN adds it",
    },
    "grouping": {"M of P5", "to P3", "channel of P4", "entry of M"},
    "detections": {"100 found"},
    "places": {"C3: boxes", "uncertainty α"},
    "rois": {"classification", "boxes", "uncertainty α"},
    "soft-roi": {"P2", "P5", "roi_head.bbox_roi_\nextractor\nshare"},
}


# Rows of two detectors are laid out as those of one: half of them for the full suite.
CASES = [
    pytest.param(
        kind,
        count,
        marks=[pytest.mark.long] if count == 2 and kind not in IN_CORE else [],
        id=f"{kind}-{count}",
    )
    for kind in KINDS
    for count in (1, 2)
]


@pytest.mark.parametrize(("kind", "count"), CASES)
def test_no_text_overlaps(
    look: Look, kind: str, count: int, tmp_path: Path, monkeypatch
) -> None:
    name, collect, draw = KINDS[kind]
    options = dict(score_threshold=0.0) if kind == "detections" else {}
    found = collect(*look(name), **options)
    entries = [(f"{LONG} {i}" if count > 1 else "", found) for i in range(count)]
    figures = keep_figures(monkeypatch)
    path = tmp_path / "new" / "picture.png"
    draw(entries, path)
    (figure,) = figures
    texts = check_picture(path, figure)
    if count == 1:
        assert SAID[kind] <= set(texts)
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_rows_of_two_detectors_share_their_scale(
    look: Look, tmp_path: Path, monkeypatch
) -> None:
    figures = keep_figures(monkeypatch)
    rows = collect_features(*look("plain"), ["c2", "c3"])
    other = collect_features(*look(DRFPN), ["c2", "c3"])
    draw_features([("one", rows), ("other", other)], tmp_path / "picture.png")
    scales = [
        image.get_clim()
        for axes in figures[0].axes
        for image in axes.images
        if image.get_cmap().name == "inferno"
    ]
    values = [
        x.values for row in (*rows, *other) for x in row.maps if row.label[0] == "C"
    ]
    expected = min(x.min() for x in values), max(x.max() for x in values)
    assert len(values) == 4 and scales == [pytest.approx(expected)] * 4


def test_a_cell_lies_where_the_network_put_it(
    look: Look, tmp_path: Path, monkeypatch
) -> None:
    """The map covers the padded image, and the picture ends where the image does."""
    figures = keep_figures(monkeypatch)
    rows = collect_features(*look("plain"), ["p5"])
    draw_features([("", rows)], tmp_path / "picture.png")
    axes = figures[0].axes[0]
    assert rows[0].maps[0].values.shape == (4, 5)
    assert tuple(axes.images[-1].get_extent()) == (0, 160, 128, 0)
    assert axes.get_xlim() == (0, 144) and axes.get_ylim() == (100, 0)


def test_long_names_are_broken_where_they_can_be() -> None:
    assert wrap("retinanet_r50_fpn_1x_coco none", 16) == (
        "retinanet_r50_\nfpn_1x_coco none"
    )
    assert wrap("unbreakableinanyplace x", 5) == "unbreakableinanyplace\nx"


class TestAlphaOverTraining:
    def write(self, folder: Path) -> None:
        for start, steps in (("20260101_0", (1, 2, 3)), ("20260102_0", (3, 4))):
            file = folder / start / "vis_data" / "scalars.json"
            file.parent.mkdir(parents=True)
            lines = [
                json.dumps({f"alpha/neck.fusion_factor.{i}": s / 10 + i, "step": s})
                for s in steps
                for i in (0, 1)
            ]
            file.write_text(
                "\n".join([*lines, '{"loss": 1.0, "iter": 2, "step": 2}', "{"])
            )

    def test_scalars_of_a_resumed_run(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        assert read_factors(tmp_path) == {
            "neck.fusion_factor.0": ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]),
            "neck.fusion_factor.1": ([1, 2, 3, 4], [1.1, 1.2, 1.3, 1.4]),
        }

    def test_checkpoints(self, tmp_path: Path) -> None:
        for epoch in (10, 2):
            state = {"neck.fusion_factor.alpha": torch.tensor([epoch / 10, 1.0])}
            content = dict(state_dict=state, meta=dict(iter=epoch * 7, epoch=epoch))
            torch.save(content, tmp_path / f"epoch_{epoch}.pth")
        found = read_factors(tmp_path)
        assert found["neck.fusion_factor.0"][0] == [14, 70]
        np.testing.assert_allclose(found["neck.fusion_factor.0"][1], [0.2, 1.0])
        (tmp_path / "epoch_3.pth").write_bytes(b"nothing")
        with pytest.raises(
            ValueError, match="epoch_3.pth cannot be loaded: not a checkpoint"
        ):
            read_factors(tmp_path)

    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no fusion factors in .*Hook"):
            read_factors(tmp_path)
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            read_factors(tmp_path / "none")

    def test_picture(self, tmp_path: Path, monkeypatch) -> None:
        self.write(tmp_path)
        curves = read_factors(tmp_path)
        figures = keep_figures(monkeypatch)
        names = {"neck.fusion_factor.0": "P3 from P4"}
        path = tmp_path / "alpha.png"
        draw_factors([("one", curves), (LONG, curves)], path, names)
        texts = check_picture(path, figures[0])
        assert {"P3 from P4 (one)", "iteration", f"P3 from P4 ({LONG})"} <= set(texts)
        lines = figures[0].axes[0].lines
        np.testing.assert_allclose(lines[0].get_ydata(), [0.1, 0.2, 0.3, 0.4])
        np.testing.assert_array_equal(lines[0].get_xdata(), [1, 2, 3, 4])

    def test_connections_of_two_detectors_are_compared(
        self, tmp_path: Path, monkeypatch
    ) -> None:
        """By what they join, wherever the neck is in the model."""
        figures = keep_figures(monkeypatch)
        one = {f"neck.0.fusion_factor.{i}": ([], [0.5 + i / 10]) for i in range(2)}
        other = {f"neck.fusion_factor.{i}": ([], [0.8 + i / 10]) for i in range(2)}
        names = {key: f"P{key[-1]}" for key in (*one, *other)}
        path = tmp_path / "alpha.png"
        draw_factors([("one", one), (LONG, other)], path, names)
        texts = check_picture(path, figures[0])
        assert texts.count("P0") == texts.count("P1") == 1
        assert {"0.500", "0.600", "0.800", "0.900"} <= set(texts)

    def test_points_without_a_training(self, tmp_path: Path, monkeypatch) -> None:
        figures = keep_figures(monkeypatch)
        curves = {f"neck.fusion_factor.{i}": ([], [0.5 + i / 10]) for i in range(3)}
        path = tmp_path / "alpha.png"
        draw_factors([("one", curves), (LONG, curves)], path)
        texts = check_picture(path, figures[0])
        assert {"0.500", "0.600", "0.700", "one", LONG} <= set(texts)
