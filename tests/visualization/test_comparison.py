"""Pictures of detections: matching, samples, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes

from fpn_necks.visualization import DetectionSample, comparison, draw_samples
from fpn_necks.visualization.comparison import (
    lie_in_ignored,
    load_samples,
    match_boxes,
)


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
                {"id": i, "image_id": 0, "category_id": 1, "bbox": [x, y, 9, 9]} | mark
                for i, (x, y, mark) in enumerate(
                    [
                        (1, 2, {}),
                        (9, 9, {"ignore": True}),
                        (7, 9, {"iscrowd": 1}),
                        (5, 9, {"uncertain": True}),
                    ]
                )
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
        assert first.truth.tolist() == [[1, 2, 10, 11]]
        assert first.ignored.tolist() == [[x, 9, x + 9, 18] for x in (9, 7, 5)]
        assert first.scores.tolist() == [0.9, 0.4]
        assert first.detections.shape == (2, 4)
        assert last.image_path == tmp_path / "4.png"
        assert last.truth.shape == last.detections.shape == (0, 4)

    def test_nothing_to_draw_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one image"):
            draw_samples([], tmp_path / "picture.png")


class TestIgnored:
    @pytest.mark.parametrize(
        ("ignored", "inside"),
        [
            ([], False),
            ([[0, 0, 40, 40]], True),
            ([[0, 0, 7, 40]], True),  # half of it
            ([[0, 0, 6.9, 40]], False),
            ([[0, 0, 5, 40], [8, 0, 40, 40]], False),  # no single one
        ],
    )
    def test_share_of_the_detection(self, ignored: list, inside: bool) -> None:
        found = np.array([[2.0, 2, 12, 12]])
        actual = lie_in_ignored(found, np.array(ignored, float).reshape(-1, 4))
        assert actual.tolist() == [inside]

    def test_is_neither_right_nor_false(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of two in a crowd one matches a person; one more is false."""
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 80, 3), np.uint8))
        boxes = np.array([[2.0, 2, 12, 12], [20, 2, 30, 12], [60, 40, 70, 50]])
        sample = DetectionSample(
            tmp_path / "a.png",
            boxes[:1],
            boxes,
            np.array([0.9, 0.8, 0.7]),
            np.array([[0.0, 0, 40, 30]]),
        )
        titles, shown = [], []
        monkeypatch.setattr(
            Axes, "set_title", lambda _, title, **__: titles.append(title)
        )
        monkeypatch.setattr(
            comparison,
            "show_frames",
            lambda axes, drawn, colour, **_: shown.append((colour, drawn.tolist())),
        )
        draw_samples([sample], tmp_path / "picture.png")
        assert titles[1] == "score ≥ 0.3: 1 found, 1 false, 0 missed"
        assert (comparison.FOUND_COLOUR, boxes[:1].tolist()) in shown
        assert (comparison.IGNORED_COLOUR, boxes[1:2].tolist()) in shown
        assert (comparison.FALSE_COLOUR, boxes[2:].tolist()) in shown
        assert shown.count((comparison.IGNORED_COLOUR, sample.ignored.tolist())) == 2
