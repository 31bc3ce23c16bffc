"""Every kind of picture: it is written, says what it should, and can be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fpn_necks.visualization.features import collect_features
from fpn_necks.visualization.figures import draw_heat_rows
from fpn_necks.visualization.fusion_factors import draw_factors, read_factors
from fpn_necks.visualization.pictures import PICTURES
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

# Name of the picture, detector, and some of what it says.
CASES = [
    (
        "features",
        ASFF_ON_S_ALPHA,
        {"C2: stride 4, 16 channels", "M3: stride 8, 32 channels", "P: ASFF"},
    ),
    ("asff-weights", ASFF_ON_S_ALPHA, {"fused P4", "weight", "0.0", "1.0"}),
    (
        "drfpn-sampling",
        DRFPN,
        {"P4 → P3", "P5 → P4", "ω", "length in pixels of the\ninput"},
    ),
    ("grouping", CFG, {"stage 2", "to P3", "M of P4, by its channels", "entry of M"}),
    ("detections", "plain", {"100 found"}),
    ("uncertainty", DENSE, {"C3: boxes", "uncertainty α"}),
    ("uncertainty", ROIS, {"classification", "boxes", "uncertainty α"}),
    ("soft-roi-ratios", SOFT_ROI, {"P2", "P5", "roi_head.bbox_roi_\nextractor\nshare"}),
]


@pytest.mark.parametrize(("kind", "name", "said"), CASES)
def test_says_what_it_shows(
    look: Look, kind: str, name: str, said: set, tmp_path: Path, monkeypatch
) -> None:
    picture = PICTURES[kind]
    options = dict(score_threshold=0.0) if kind == "detections" else {}
    model, view = look(name)
    found = picture.collect(model, view if picture.of_one_image else [view], **options)
    figures = keep_figures(monkeypatch)
    path = tmp_path / "new" / "picture.png"
    picture.draw([("", found)], path)
    assert said <= set(check_picture(path, figures[0]))
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("kind", ["asff-weights", "soft-roi-ratios", "detections"])
def test_two_detectors_are_named(
    look: Look, kind: str, tmp_path: Path, monkeypatch
) -> None:
    picture = PICTURES[kind]
    model, view = look({case[0]: case[1] for case in CASES}[kind])
    found = picture.collect(model, view if picture.of_one_image else [view])
    figures = keep_figures(monkeypatch)
    picture.draw([("first", found), ("second", found)], tmp_path / "picture.png")
    texts = "".join(check_picture(tmp_path / "picture.png", figures[0]))
    assert "first" in texts and "second" in texts


def test_rows_of_two_detectors_share_their_scale(
    look: Look, tmp_path: Path, monkeypatch
) -> None:
    figures = keep_figures(monkeypatch)
    rows = collect_features(*look("plain"), ["c2", "c3"])
    other = collect_features(*look(DRFPN), ["c2", "c3"])
    entries = [("one", rows), ("other", other)]
    draw_heat_rows(entries, tmp_path / "picture.png", "features")
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
    draw_heat_rows([("", rows)], tmp_path / "picture.png", "features")
    axes = figures[0].axes[0]
    assert rows[0].maps[0].values.shape == (4, 5)
    assert tuple(axes.images[-1].get_extent()) == (0, 160, 128, 0)
    assert axes.get_xlim() == (0, 144) and axes.get_ylim() == (100, 0)


class TestCurves:
    def write_alpha(self, folder: Path) -> None:
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

    def test_alpha_of_a_resumed_run(self, tmp_path: Path) -> None:
        self.write_alpha(tmp_path)
        assert read_factors(tmp_path) == {
            "neck.fusion_factor.0": ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]),
            "neck.fusion_factor.1": ([1, 2, 3, 4], [1.1, 1.2, 1.3, 1.4]),
        }

    def test_alpha_of_checkpoints(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no fusion factors in .*Hook"):
            read_factors(tmp_path)
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            read_factors(tmp_path / "none")
        for epoch in (10, 2):
            state = {"neck.fusion_factor.alpha": torch.tensor([epoch / 10, 1.0])}
            content = dict(state_dict=state, meta=dict(iter=epoch * 7, epoch=epoch))
            torch.save(content, tmp_path / f"epoch_{epoch}.pth")
        found = read_factors(tmp_path)
        assert found["neck.fusion_factor.0"][0] == [14, 70]
        np.testing.assert_allclose(found["neck.fusion_factor.0"][1], [0.2, 1.0])
        (tmp_path / "epoch_3.pth").write_bytes(b"nothing")
        with pytest.raises(ValueError, match="epoch_3.pth cannot be loaded: not a che"):
            read_factors(tmp_path)

    def test_picture_over_a_training(self, tmp_path: Path, monkeypatch) -> None:
        self.write_alpha(tmp_path)
        curves = {"P3 from P4": read_factors(tmp_path)["neck.fusion_factor.0"]}
        figures = keep_figures(monkeypatch)
        draw_factors([("one", curves), (LONG, curves)], tmp_path / "alpha.png")
        texts = check_picture(tmp_path / "alpha.png", figures[0])
        assert {"P3 from P4 (one)", "iteration", f"P3 from P4 ({LONG})"} <= set(texts)
        line = figures[0].axes[0].lines[0]
        np.testing.assert_allclose(line.get_ydata(), [0.1, 0.2, 0.3, 0.4])
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])

    def test_picture_of_points(self, tmp_path: Path, monkeypatch) -> None:
        """Connections of two detectors are compared by what they join."""
        figures = keep_figures(monkeypatch)
        one = {f"P{i}": ([], [0.5 + i / 10]) for i in range(2)}
        other = {f"P{i}": ([], [0.8 + i / 10]) for i in range(2)}
        draw_factors([("one", one), (LONG, other)], tmp_path / "alpha.png")
        texts = check_picture(tmp_path / "alpha.png", figures[0])
        assert texts.count("P0") == texts.count("P1") == 1
        assert {"0.500", "0.600", "0.800", "0.900", "one", LONG} <= set(texts)
