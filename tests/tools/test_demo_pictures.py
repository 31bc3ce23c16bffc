"""The demo's pictures: what counts as found, false, missed and neither."""

from __future__ import annotations

from pathlib import Path

import cv2
import demo_pictures
import numpy as np
import pytest
from demo_pictures import FALSE, FOUND, IGNORED, draw_detections, sort_out
from matplotlib.axes import Axes


def boxes(entries: list) -> np.ndarray:
    return np.array(entries, float).reshape(-1, 4)


@pytest.mark.parametrize(
    ("detections", "people", "right", "missed"),
    [
        ([], [], [], []),
        ([[0, 0, 4, 4]], [], [False], []),
        ([], [[0, 0, 4, 4]], [], [True]),
        ([[0, 0, 4, 4]] * 2, [[0, 0, 4, 4]], [True, False], [False]),
        ([[0, 0, 4, 2]], [[0, 0, 4, 4]], [True], [False]),
        ([[0, 0, 4, 1]], [[0, 0, 4, 4]], [False], [True]),
        (
            [[0, 0, 4, 4], [1, 0, 5, 4]],
            [[1, 0, 5, 4], [0, 0, 4, 4]],
            [True, True],
            [False, False],
        ),
    ],
)
def test_each_person_once(
    detections: list, people: list, right: list, missed: list
) -> None:
    shown, nobody = sort_out(boxes(detections), boxes(people), boxes([]))
    assert shown[FOUND].tolist() == right
    assert nobody.tolist() == missed


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
def test_share_of_the_detection(ignored: list, inside: bool) -> None:
    shown, _ = sort_out(boxes([[2, 2, 12, 12]]), boxes([]), boxes(ignored))
    assert shown[IGNORED].tolist() == [inside]
    assert shown[FALSE].tolist() == [not inside]


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two in a crowd one matches a person; one more is false."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 80, 3), np.uint8))
    images = [dict(id=i, file_name="a.png", width=80, height=60) for i in range(5)]
    people = [
        dict(image_id=0, bbox=[2, 2, 10, 10]),
        dict(image_id=0, bbox=[0, 0, 40, 30], ignore=True),
        dict(image_id=4, bbox=[5, 5, 9, 9]),
    ]
    results = [
        dict(image_id=0, bbox=box, score=score)
        for box, score in (
            ([60, 40, 10, 10], 0.7),
            ([2, 2, 10, 10], 0.9),
            ([1, 1, 1, 1], 0.2),
            ([20, 2, 10, 10], 0.8),
        )
    ]
    titles, shown = [], []
    monkeypatch.setattr(Axes, "set_title", lambda _, title, **__: titles.append(title))
    monkeypatch.setattr(
        demo_pictures,
        "show_frames",
        lambda axes, drawn, colour, **_: shown.append((colour, drawn.tolist())),
    )
    pictures = [tmp_path / f"{i}.png" for i in range(4)]
    truth = dict(images=images, annotations=people)
    draw_detections(truth, results, tmp_path, pictures, 0.3)
    assert [picture.exists() for picture in pictures] == [True, True, True, False]
    assert titles[:2] == ["a.png: 1 people", "score ≥ 0.3: 1 found, 1 false, 0 missed"]
    assert titles[-1] == "score ≥ 0.3: 0 found, 0 false, 1 missed"
    assert (FOUND, [[2, 2, 12, 12]]) in shown
    assert (IGNORED, [[20, 2, 30, 12]]) in shown
    assert (FALSE, [[60, 40, 70, 50]]) in shown
    assert shown.count((IGNORED, [[0, 0, 40, 30]])) == 2
