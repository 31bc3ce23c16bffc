"""Where tiles lie: the released corners, and what holds for all of them."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpn_necks.datasets import TileSettings, tile_corners
from tests.golden import COPIES

GOLDEN = json.loads((COPIES / "tiles_corners.json").read_text())


# The released code can also choose tiles by their number, cut and turn them.
CASES = [
    case
    for case in GOLDEN["cases"]
    if case.get("tile_wh")
    and case["use_fix_size"]
    and not case["use_least_pieces_size"]
]


@pytest.mark.parametrize("case", CASES)
def test_equals_the_released_corners(case: dict) -> None:
    found = tile_corners(*(case[k] for k in ("image_wh", "tile_wh", "overlap_wh")))
    if case["error"] is None:
        assert found.tolist() == case["corners"]
    else:
        width, height = case["image_wh"]
        assert min(width, height) <= min(case["overlap_wh"])
        # One tile spans the side that the released code fails on.
        assert (found[:, 0] == 0).all() and (found[:, 2] == width).all()
        assert found[:, 3].max() == height


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_tiles_cover_the_image(data: st.DataObject) -> None:
    pair = st.tuples(st.integers(1, 400), st.integers(1, 400))
    image, tile = data.draw(pair), data.draw(pair)
    overlap = tuple(data.draw(st.integers(0, side - 1)) for side in tile)
    # Every start is a step on, so steps of a pixel would fill the memory.
    if min(t - o for t, o in zip(tile, overlap, strict=True)) < 5:
        overlap = (0, 0)
    corners = tile_corners(image, tile, overlap)
    covered = np.zeros(image[::-1], dtype=bool)
    for x1, y1, x2, y2 in corners:
        assert 0 <= x1 < x2 <= image[0] and 0 <= y1 < y2 <= image[1]
        size = (min(tile[0], image[0]), min(tile[1], image[1]))
        assert (x2 - x1, y2 - y1) == size
        covered[y1:y2, x1:x2] = True
    assert covered.all()
    assert len({tuple(corner) for corner in corners.tolist()}) == len(corners)
    order = corners[:, [1, 0]].tolist()
    assert order == sorted(order), "row-major"
    columns = np.unique(corners[:, [0, 2]], axis=0)
    for (_, left_end), (start, _) in itertools.pairwise(columns):
        assert left_end - start >= overlap[0]


@pytest.mark.parametrize(
    ("image", "tile", "overlap", "error", "message"),
    [
        ((0, 10), (5, 5), (0, 0), ValueError, "image_wh .*0"),
        ((10, 10), (5, 0), (0, 0), ValueError, "tile_wh .*0"),
        ((10, 10), (5, 5), (5, 0), ValueError, "overlap_wh .*smaller than tile_wh"),
        ((10, 10), (5, 5), (0, -1), ValueError, "overlap_wh .*-1"),
        ((10.5, 10), (5, 5), (0, 0), TypeError, "image_wh .*10.5"),
        ((10, 10), (5, 5, 5), (0, 0), ValueError, "tile_wh must have 2"),
        ((10, 10), 5, (0, 0), TypeError, "tile_wh .*5"),
    ],
)
def test_wrong_arguments(image, tile, overlap, error, message) -> None:
    with pytest.raises(error, match=message):
        tile_corners(image, tile, overlap)


def test_settings_of_a_config() -> None:
    made = TileSettings.from_config(dict(size=[64, 32], overlap=[8, 4], keep=0.5))
    assert made == TileSettings((64, 32), (8, 4), 0.5)
    assert made.corners((100, 32)).tolist() == [[0, 0, 64, 32], [36, 0, 100, 32]]


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (dict(sizes=(1, 1)), TypeError, r"unknown keys \['sizes'\]; known .*'size'"),
        (640, TypeError, "tiles must be a dict"),
        (dict(size=(10, 10)), ValueError, "overlap must be smaller than size"),
        (dict(keep=0), ValueError, "keep .*above 0 and at most 1.*0"),
        (dict(cut_boxes="keep"), ValueError, "cut_boxes .*ignore.*'keep'"),
    ],
)
def test_wrong_settings(config, error, message) -> None:
    with pytest.raises(error, match=message):
        TileSettings.from_config(config)
