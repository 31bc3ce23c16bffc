import warnings

import pytest
import torch
from mmdet.models.task_modules import AnchorGenerator
from torch import Tensor

from fpn_necks.statistics import count_best_levels, count_regress_range_levels

GENERATORS = {
    "retinanet": dict(
        octave_base_scale=4,
        scales_per_octave=3,
        ratios=[0.5, 1.0, 2.0],
        strides=[8, 16, 32, 64, 128],
    ),
    "tiny-retinanet": dict(
        octave_base_scale=2,
        scales_per_octave=3,
        ratios=[0.5, 1.0, 2.0],
        strides=[4, 8, 16, 32, 64],
    ),
    "rpn": dict(scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
    "uneven-strides": dict(scales=[4], ratios=[1.0], strides=[(8, 4), (16, 8)]),
    "shifted-centres": dict(
        scales=[8], ratios=[0.5, 2.0], strides=[8, 16], center_offset=0.5
    ),
    # The same anchors on two levels: every box whose best anchor stands on both ties.
    "tied-levels": dict(
        scales=[1], ratios=[0.5, 1.0], strides=[8, 16], base_sizes=[32, 32]
    ),
}


def random_boxes(generator: torch.Generator, count: int, shape) -> torch.Tensor:
    """Boxes of 0.5 px to twice the image, some over its border, some on pixels."""
    height, width = shape
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    side = torch.exp(torch.rand(count, 2, generator=generator) * 7 - 0.7)
    boxes = torch.cat([centre - side / 2, centre + side / 2], 1)
    boxes[::3] = boxes[::3].round()
    boxes[1::4] = boxes[1::4].clamp(min=0)
    return boxes


def grid_sizes(shape: tuple[int, int], generator) -> list[tuple[int, int]]:
    return [(-(-shape[0] // s[1]), -(-shape[1] // s[0])) for s in generator.strides]


def count_by_full_matrix(boxes, shapes, generator, distinct: bool = False) -> Tensor:
    """Algorithm 1 of the S-α paper as it stands there: the full IoU matrix."""
    counts = torch.zeros(generator.num_levels, dtype=torch.int64)
    for image_boxes, shape in zip(boxes, shapes, strict=True):
        per_level = generator.grid_priors(
            grid_sizes(shape, generator), dtype=torch.float64, device="cpu"
        )
        level_of = torch.cat(
            [torch.full((len(a),), i) for i, a in enumerate(per_level)]
        )
        anchors = torch.cat(per_level)
        truths = image_boxes.double()
        low = torch.maximum(truths[:, None, :2], anchors[None, :, :2])
        high = torch.minimum(truths[:, None, 2:], anchors[None, :, 2:])
        overlap = (high - low).clamp(min=0).prod(-1)
        area = (truths[:, 2:] - truths[:, :2]).prod(-1)
        anchor_area = (anchors[:, 2:] - anchors[:, :2]).prod(-1)
        iou = overlap / (area[:, None] + anchor_area - overlap)
        best = [
            int((row >= row.max() - 1e-12).nonzero()[0]) for row in iou if row.max() > 0
        ]
        for first in set(best) if distinct else best:
            counts[level_of[first]] += 1
    return counts


@pytest.mark.parametrize("distinct", [False, True], ids=["paper", "released"])
@pytest.mark.parametrize("name", GENERATORS)
def test_equals_full_matrix(name: str, distinct: bool) -> None:
    anchors = AnchorGenerator(**GENERATORS[name])
    random = torch.Generator().manual_seed(0)
    shapes = [(96, 160), (224, 128), (97, 131)]
    boxes = [random_boxes(random, 60, shape) for shape in shapes]
    # Crowds, whose people share anchors: within an image only.
    boxes = [torch.cat([b, b[:20] + 0.5, boxes[0][:9]]) for b in boxes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = count_best_levels(boxes, shapes, anchors, distinct)
    assert counts.dtype == torch.int64
    expected = count_by_full_matrix(boxes, shapes, anchors, distinct)
    assert counts.tolist() == expected.tolist()
    assert (expected > 0).sum() >= 1 and expected.sum() > 80
    every = count_by_full_matrix(boxes, shapes, anchors)
    assert bool(expected.sum() < every.sum()) == distinct


def test_boxes_without_any_overlap_are_reported_not_counted() -> None:
    anchors = AnchorGenerator(**GENERATORS["rpn"])
    boxes = torch.tensor(
        [[10.0, 10.0, 40.0, 40.0], [20.0, 20.0, 20.0, 30.0], [9e4, 9e4, 9.1e4, 9.1e4]]
    )
    with pytest.warns(UserWarning, match="2 of 3 boxes overlap no anchor"):
        counts = count_best_levels([boxes], [(128, 128)], anchors)
    assert counts.sum() == 1


def test_no_images_and_no_boxes() -> None:
    anchors = AnchorGenerator(**GENERATORS["rpn"])
    assert count_best_levels([], [], anchors).tolist() == [0] * 5
    empty = count_best_levels([torch.zeros(0, 4)], [(64, 64)], anchors)
    assert empty.tolist() == [0] * 5


@pytest.mark.parametrize(
    ("boxes", "shapes", "message"),
    [
        ([torch.zeros(1, 4)], [], "one entry per image, got 1 and 0"),
        ([torch.full((1, 4), torch.nan)], [(8, 8)], "must be finite"),
        ([torch.zeros(1, 4)], [(0, 8)], "image_shapes .* above 0"),
    ],
)
def test_wrong_arguments(boxes: list, shapes: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count_best_levels(boxes, shapes, AnchorGenerator(**GENERATORS["rpn"]))


def test_chunks_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors = AnchorGenerator(**GENERATORS["retinanet"])
    boxes = [random_boxes(torch.Generator().manual_seed(1), 50, (128, 128))] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = count_best_levels(boxes, [(128, 128)] * 4, anchors)
        monkeypatch.setattr("fpn_necks.statistics.level_counts.CHUNK", 7)
        parts = count_best_levels(boxes, [(128, 128)] * 4, anchors)
    assert whole.tolist() == parts.tolist()


def test_fcos_ranges() -> None:
    ranges = ((-1, 64), (64, 128), (128, 256))
    sides = torch.tensor([10.0, 127.9, 128.0, 128.1, 256.0, 511.0, 512.0, 513.0])
    boxes = torch.zeros(8, 4)
    boxes[:, 2] = sides
    boxes[:, 3] = 5.0
    # Half the longer side: 128 px lies on the border of two ranges, the first wins.
    with pytest.warns(UserWarning, match="1 of 8 boxes lie in no regress range"):
        counts = count_regress_range_levels([boxes[:4], boxes[4:]], ranges)
    assert counts.tolist() == [3, 2, 2]
