"""Suppression and the rule for boxes at tile borders, on plain tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fpn_necks.inference.merging import is_seen_better, suppress


def boxes_of(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


class TestSuppress:
    boxes = boxes_of((0, 0, 10, 10), (0, 0, 10, 9), (0, 0, 10, 5), (50, 50, 60, 60))
    scores = torch.tensor([0.5, 0.9, 0.3, 0.5])
    labels = torch.tensor([0, 1, 0, 1])

    @pytest.mark.parametrize(
        ("threshold", "per_class", "kept"),
        [
            (0.5, True, [1, 0, 3, 2]),  # an IoU of exactly the threshold is kept
            (0.49, True, [1, 0, 3]),
            (0.5, False, [1, 3]),  # 9 / 10 and 5 / 9
            (0.56, False, [1, 3, 2]),
            (0.91, False, [1, 0, 3, 2]),
            (None, True, [1, 0, 3, 2]),
            (None, False, [1, 0, 3, 2]),
        ],
    )
    def test_by_hand(
        self, threshold: float | None, per_class: bool, kept: list[int]
    ) -> None:
        actual = suppress(self.boxes, self.scores, self.labels, threshold, per_class)
        assert actual.tolist() == kept

    @pytest.mark.parametrize("per_class", [True, False])
    @pytest.mark.parametrize("threshold", [0.5, None])
    def test_empty(self, threshold: float | None, per_class: bool) -> None:
        labels = torch.zeros(0, dtype=torch.long)
        kept = suppress(boxes_of(), torch.zeros(0), labels, threshold, per_class)
        assert kept.dtype == torch.long and kept.shape == (0,)

    @pytest.mark.parametrize("per_class", [True, False])
    @pytest.mark.parametrize("threshold", [0.5, None])
    def test_equal_scores_keep_their_order(
        self, threshold: float | None, per_class: bool
    ) -> None:
        count = 1000
        place = torch.arange(count)[:, None] * 10.0
        boxes = torch.cat([place, place, place + 5, place + 5], 1)
        scores = (torch.arange(count) % 2) / 2
        labels = torch.arange(count) % 7
        kept = suppress(boxes, scores, labels, threshold, per_class)
        assert kept.tolist() == [*range(1, count, 2), *range(0, count, 2)]

    def test_tiny_boxes_far_out_in_the_last_class(self) -> None:
        # An IoU of 0.4988: a shift by 79 * 30001 would leave steps of 0.25 px.
        box = torch.tensor([29000.0, 29000.0, 29003.99, 29003.99])
        other = box + torch.tensor([1.34, 0, 1.34, 0])
        for threshold, count in ((0.495, 1), (0.505, 2)):
            kept = suppress(
                torch.stack([box, other]),
                torch.tensor([0.9, 0.8]),
                torch.tensor([79, 79]),
                threshold,
                True,
            )
            assert len(kept) == count


class TestSeenBetter:
    """Tiles of 100 x 100 that share 20, on 180 x 180: 0-100 and 80-180 both ways."""

    tiles = torch.tensor([[x, y, x + 100, y + 100] for y in (0, 80) for x in (0, 80)])

    @pytest.mark.parametrize(
        ("box", "owner", "margin", "expected"),
        [
            ((40, 40, 60, 60), 0, 0, False),  # inside
            ((90, 40, 100, 60), 0, 0, True),  # cut by the right border
            ((90, 40, 99, 60), 0, 0, False),
            ((90, 40, 99, 60), 0, 1, True),  # comes within the margin
            ((70, 40, 100, 60), 0, 0, False),  # the neighbour cuts it as well
            ((80, 40, 100, 60), 0, 0, False),  # as far as the neighbour can tell
            ((81, 40, 100, 60), 0, 0, True),
            ((81, 40, 100, 60), 0, 1, False),  # within the neighbour's margin
            ((80, 40, 90, 60), 1, 0, True),  # cut by the left border
            ((40, 80, 60, 90), 2, 0, True),  # by the upper
            ((40, 90, 60, 100), 0, 0, True),  # by the lower
            ((90, 90, 100, 100), 0, 0, True),  # by both: tile 3 sees more
            ((90, 70, 100, 100), 0, 0, True),  # tile 1 sees more to the right
            ((70, 70, 100, 100), 0, 0, False),
            ((0, 40, 10, 60), 0, 5, False),  # the image's border, not an inner one
            ((170, 40, 180, 60), 1, 5, False),
            ((90, 0, 100, 10), 0, 0, True),  # cut, and at the image's border
            ((90, 40, 100, 60), -1, 0, False),  # from the whole image
        ],
    )
    def test_by_hand(
        self, box: tuple[int, ...], owner: int, margin: int, expected: bool
    ) -> None:
        result = is_seen_better(
            boxes_of(box), torch.tensor([owner]), self.tiles, margin
        )
        assert result.tolist() == [expected]

    def test_rows_stay_in_place(self) -> None:
        boxes = boxes_of((40, 40, 60, 60), (90, 40, 100, 60), (80, 40, 90, 60))
        owners = torch.tensor([0, 0, 1])
        result = is_seen_better(boxes, owners, self.tiles, 0)
        assert result.tolist() == [False, True, True]

    def test_empty(self) -> None:
        owners = torch.zeros(0, dtype=torch.long)
        result = is_seen_better(boxes_of(), owners, self.tiles, 0)
        assert result.shape == (0,)
