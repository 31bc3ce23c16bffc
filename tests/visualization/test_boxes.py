"""Pictures: objects stay visible, frames lie around them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from fpn_necks.visualization.boxes import COLOURS, draw_detections, to_8_bits


def sample_of(*rows: tuple[float, ...]) -> DetDataSample:
    """Make a sample of rows x1, y1, x2, y2, score, label."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return DetDataSample(
        pred_instances=InstanceData(
            bboxes=table[:, :4], scores=table[:, 4], labels=table[:, 5].long()
        )
    )


IMAGE = np.full((100, 120, 3), 7, np.uint8)
META = dict(classes=("a", "b"), palette=[(10, 20, 30), (200, 100, 50)])


def test_frame_is_around_the_box_in_the_class_colour() -> None:
    drawn = draw_detections(IMAGE, sample_of((40, 50, 44, 53, 0.9, 1)), META)
    assert (drawn[50:53, 40:44] == 7).all()
    frame = drawn[49:54, 39:45].copy()
    frame[1:-1, 1:-1] = (50, 100, 200)
    assert (frame == (50, 100, 200)).all()  # the palette is RGB, the picture BGR
    assert (drawn[54:] == 7).all() and (drawn[:, :39] == 7).all()
    assert (drawn[:48] != 7).any()  # the label
    assert (IMAGE == 7).all()
    assert drawn.shape == IMAGE.shape and drawn.dtype == np.uint8


def test_lines_of_large_images_are_wider() -> None:
    image = np.zeros((300, 6000, 3), np.uint8)
    drawn = draw_detections(image, sample_of((3000, 240, 3010, 250, 0.9, 0)), META)
    assert not drawn[240:250, 3000:3010].any()
    assert drawn[245, 3010:3020].any(1).sum() >= 4


@pytest.mark.parametrize(
    "box",
    [(0, 0, 5, 5), (115, 0, 120, 4), (0, 0, 120, 100), (110, 95, 120, 100)],
)
def test_label_stays_in_the_image(box: tuple[int, ...]) -> None:
    drawn = draw_detections(IMAGE, sample_of((*box, 0.5, 0)), META)
    bare = (drawn == (30, 20, 10)).all(-1)
    assert bare.sum() > 60  # the label's ground


@pytest.mark.parametrize("palette", ["random", "none", None, [(1, 2, 3)]])
def test_palettes(palette: object) -> None:
    meta = dict(classes=("a", "b"), palette=palette)
    drawn = draw_detections(IMAGE, sample_of((40, 50, 44, 53, 0.9, 1)), meta)
    expected = (1, 2, 3) if isinstance(palette, list) else COLOURS[1]
    assert tuple(drawn[49, 39]) == expected[::-1]


def test_best_is_in_front() -> None:
    rows = (40, 50, 44, 53, 0.9, 1), (40, 50, 44, 53, 0.2, 0)
    for order in (rows, rows[::-1]):
        drawn = draw_detections(IMAGE, sample_of(*order), META)
        assert tuple(drawn[49, 39]) == (50, 100, 200)


def test_nothing_found_and_floating_point_images() -> None:
    image = np.array([[[-3.0, 12.6, 300.0]]], np.float32)
    drawn = draw_detections(image, sample_of(), dict(classes=("person",)))
    assert drawn.tolist() == [[[0, 12, 255]]]


def test_a_label_without_a_name_is_numbered() -> None:
    found = sample_of((40, 50, 44, 53, 0.9, 7))
    for meta in (META, {}):
        assert (draw_detections(IMAGE, found, meta) != 7).any()


def test_images_of_any_channels_and_numbers() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for image in (gray, gray[..., None], np.repeat(gray[..., None], 6, 2)):
        assert (to_8_bits(image) == gray[..., None]).all()
        assert to_8_bits(image).shape == (3, 4, 3)
    deep = np.array([[1000, 2000, 5000]], np.uint16)
    assert to_8_bits(deep)[0, :, 1].tolist() == [0, 63, 255]
    # 16 bits that hold 8 stay as they are.
    assert (to_8_bits(gray.astype(np.uint16)) == gray[..., None]).all()
    assert to_8_bits(np.array([[-5, 3]], np.int16))[0, :, 0].tolist() == [0, 255]
