"""Pictures of detections: matching, samples, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fpn_necks.visualization import draw_samples, load_samples, match_boxes


class TestMatching:
    @pytest.mark.parametrize(
        ("detections", "truth", "right", "found"),
        [
            ([], [], [], []),
            ([[0, 0, 4, 4]], [], [False], []),
            ([], [[0, 0, 4, 4]], [], [False]),
            ([[0, 0, 4, 4]] * 2, [[0, 0, 4, 4]], [True, False], [True]),
            ([[0, 0, 4, 2]], [[0, 0, 4, 4]], [True], [True]),
            ([[0, 0, 4, 1]], [[0, 0, 4, 4]], [False], [False]),
            (
                [[0, 0, 4, 4], [1, 0, 5, 4]],
                [[1, 0, 5, 4], [0, 0, 4, 4]],
                [True, True],
                [True, True],
            ),
        ],
    )
    def test_each_person_once(
        self, detections: list, truth: list, right: list, found: list
    ) -> None:
        actual = match_boxes(
            np.array(detections, float).reshape(-1, 4),
            np.array(truth, float).reshape(-1, 4),
        )
        assert actual[0].tolist() == right
        assert actual[1].tolist() == found


class TestSamples:
    def test_samples_are_read_from_coco_files(self, tmp_path: Path) -> None:
        coco = {
            "images": [{"id": i, "file_name": f"{i}.png"} for i in range(5)],
            "annotations": [
                {"image_id": 0, "bbox": [1, 2, 3, 4]},
                {"image_id": 0, "bbox": [9, 9, 9, 9], "ignore": True},
                {"image_id": 0, "bbox": [9, 9, 9, 9], "iscrowd": 1},
            ],
        }
        results = [
            {"image_id": 0, "bbox": [0, 0, 2, 2], "score": score}
            for score in (0.4, 0.2, 0.9)
        ]
        (tmp_path / "coco.json").write_text(json.dumps(coco))
        (tmp_path / "results.json").write_text(json.dumps(results))
        first, _, last = load_samples(
            tmp_path / "coco.json", tmp_path / "results.json", tmp_path, 3
        )
        assert first.truth.tolist() == [[1, 2, 4, 6]]
        assert first.scores.tolist() == [0.9, 0.4]
        assert first.detections.shape == (2, 4)
        assert last.image_path == tmp_path / "4.png"
        assert last.truth.shape == last.detections.shape == (0, 4)

    def test_nothing_to_draw_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one image"):
            draw_samples([], tmp_path / "picture.png")
