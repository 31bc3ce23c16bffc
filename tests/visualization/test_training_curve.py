"""Pictures of training curves: what is read from the log, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fpn_necks.visualization import draw_training_curve, read_scalars


class TestCurves:
    def test_curves_skip_evaluations(self, tmp_path: Path) -> None:
        scalars = tmp_path / "scalars.json"
        lines = [
            {"loss": 2.0, "loss_cls": 1.5, "lr": 0.1, "iter": 1, "step": 1},
            {"coco/bbox_mAP": 0.5, "step": 1},
            {"loss": 1.0, "loss_cls": 0.5, "lr": 0.1, "iter": 2, "step": 2},
        ]
        scalars.write_text("\n".join(json.dumps(line) for line in lines))
        curves = read_scalars(scalars)
        assert curves == {
            "loss": ([1, 2], [2.0, 1.0]),
            "loss_cls": ([1, 2], [1.5, 0.5]),
        }
        draw_training_curve(scalars, tmp_path / "losses.png")
        assert (tmp_path / "losses.png").stat().st_size > 1000

    def test_no_curves_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "scalars.json").write_text("")
        with pytest.raises(ValueError, match="holds no losses"):
            draw_training_curve(tmp_path / "scalars.json", tmp_path / "losses.png")
