"""Suppression and the rule for boxes at tile borders, on plain tensors."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from fpn_necks.inference.merging import find_cut_duplicates, suppress


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
        ],
    )
    def test_by_hand(
        self, threshold: float | None, per_class: bool, kept: list[int]
    ) -> None:
        actual = suppress(self.boxes, self.scores, self.labels, threshold, per_class)
        assert actual.tolist() == kept

    @pytest.mark.parametrize("per_class", [True, False])
    @pytest.mark.parametrize("threshold", [0.5, None])
    @pytest.mark.parametrize("count", [0, 100])
    def test_none_and_equal_scores_keep_their_order(
        self, threshold: float | None, per_class: bool, count: int
    ) -> None:
        place = torch.arange(count)[:, None] * 10.0
        boxes = torch.cat([place, place, place + 5, place + 5], 1)
        scores = (torch.arange(count) % 2) / 2
        labels = torch.arange(count) % 7
        kept = suppress(boxes, scores, labels, threshold, per_class)
        assert kept.dtype == torch.long
        assert kept.tolist() == [*range(1, count, 2), *range(0, count, 2)]

    def test_tiny_boxes_far_out_in_the_last_class(self) -> None:
        # An IoU of 0.4988: a shift by 79 * 6001 would leave steps of 0.25 px.
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


class TestCutDuplicates:
    """Tiles of 100 x 100 that share 20, on 180 x 180: 0-100 and 80-180 both ways."""

    tiles = torch.tensor([[x, y, x + 100, y + 100] for y in (0, 80) for x in (0, 80)])

    def duplicates(
        self, *rows: tuple[tuple[int, ...], int, int], margin: int = 0
    ) -> list[bool]:
        """Of rows (box, row of its tile, label)."""
        boxes, owners, labels = zip(*rows, strict=True)
        return find_cut_duplicates(
            boxes_of(*boxes),
            torch.tensor(labels, dtype=torch.long),
            torch.tensor(owners, dtype=torch.long),
            self.tiles,
            margin,
        ).tolist()

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
    def test_where_the_others_find_the_same_object(
        self, box: tuple[int, ...], owner: int, margin: int, expected: bool
    ) -> None:
        """Each of the others finds what it shows of an object 20 px larger."""
        x1, y1, x2, y2 = box
        rows = [(box, owner, 0)]
        for row, (left, top, right, bottom) in enumerate(self.tiles.tolist()):
            seen = (
                max(x1 - 20, left),
                max(y1 - 20, top),
                min(x2 + 20, right),
                min(y2 + 20, bottom),
            )
            if row != owner and seen[0] < seen[2] and seen[1] < seen[3]:
                rows.append((seen, row, 0))
        assert self.duplicates(*rows, margin=margin)[0] == expected
        # Where the others found nothing, it is all there is of the object.
        assert self.duplicates((box, owner, 0), margin=margin) == [False]

    @pytest.mark.parametrize(
        ("other", "label", "expected"),
        [
            ((90, 40, 110, 60), 0, True),
            ((90, 40, 110, 60), 1, False),  # another class
            ((95, 40, 110, 60), 0, True),  # half of the cut box
            ((96, 40, 110, 60), 0, False),  # less: a neighbour of the object
            ((90, 40, 99, 60), 0, False),  # reaches less far than the cut box
            ((120, 40, 140, 60), 0, False),  # another object
        ],
    )
    def test_what_the_other_tile_found(
        self, other: tuple[int, ...], label: int, expected: bool
    ) -> None:
        cut = ((90, 40, 100, 60), 0, 0)
        assert self.duplicates(cut, (other, 1, label)) == [expected, False]
        assert self.duplicates(cut, (other, 3, label))[0] is False  # sees too little

    def test_two_boxes_never_drop_each_other(self) -> None:
        random = torch.Generator().manual_seed(0)
        low = torch.randint(60, 110, (600, 2), generator=random)
        size = torch.randint(4, 40, (600, 2), generator=random)
        boxes, owners = torch.cat([low, low + size], 1), torch.arange(600) % 4
        tiles = self.tiles[owners]
        boxes = torch.cat(
            [boxes[:, :2].maximum(tiles[:, :2]), boxes[:, 2:].minimum(tiles[:, 2:])], 1
        )
        kept = (boxes[:, :2] < boxes[:, 2:]).all(1)
        rows = list(zip(boxes[kept].tolist(), owners[kept].tolist(), strict=True))
        pairs = [
            self.duplicates((*first, 0), (*second, 0), margin=4)
            for first, second in itertools.pairwise(rows)
        ]
        assert [True, True] not in pairs and [True, False] in pairs
