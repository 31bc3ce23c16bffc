"""Boxes in tiles: the released file, a box worked out by hand, and the counts."""

import copy
import math

import numpy as np
import pytest
from pycocotools.mask import decode, encode

from fpn_necks.datasets.tiny_person import TileSettings, check_coco, tile_coco
from fpn_necks.datasets.tiny_person.cutting import cut_boxes
from tests.evaluation.golden_case import golden_json

from .conftest import small_coco


def cut(coco: dict, **options) -> tuple[list[dict], dict, object]:
    """Cut; return the tiles, the boxes of each tile by id and the counts."""
    settings = dict(size=(60, 80), overlap=(20, 20)) | options
    tiled, counts = tile_coco(check_coco(coco, "test"), TileSettings(**settings))
    boxes = {image["id"]: [] for image in tiled["images"]}
    for annotation in tiled["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
    return tiled["images"], boxes, counts


def one_box(box: list[float], width: int = 100, **fields) -> dict:
    return dict(
        images=[dict(id=1, file_name="a.png", width=width, height=80)],
        annotations=[dict(id=9, image_id=1, category_id=1, bbox=box) | fields],
        categories=[dict(id=1, name="person")],
    )


def test_equals_the_released_file() -> None:
    whole = golden_json("tiles_merged_gt")
    expected = golden_json("tiles_corner_gt")
    before = copy.deepcopy(whole)
    found, counts = tile_coco(whole, TileSettings(cut_boxes="drop"))
    assert whole == before
    for annotation in found["annotations"]:
        annotation["id"] -= 1  # the released ids start at 0
    assert found == expected
    assert counts.tiles == 34 and counts.kept == 372 and counts.dropped > 0


class TestOneBox:
    """Tiles of 100x80 are [0, 60) and [40, 100) across."""

    def test_whole_in_both_tiles(self) -> None:
        fields = dict(uncertain=True, mine="x", keypoints=[1, 2, 2])
        coco = one_box([45, 10, 8, 20], in_dense_image=True, **fields)
        coco["images"][0]["camera"] = 3
        images, boxes, counts = cut(coco)
        assert [i["corner"] for i in images] == [[0, 0, 60, 80], [40, 0, 100, 80]]
        assert [i["id"] for i in images] == [0, 1]
        for image in images:  # dense images stay dense in every tile
            assert image["camera"] == 3 and image["in_dense_image"] is True
        assert boxes[0][0]["bbox"] == [45, 10, 8, 20]
        assert boxes[1][0]["bbox"] == [5, 10, 8, 20]
        assert boxes[1][0]["uncertain"] is True and boxes[1][0]["mine"] == "x"
        assert "keypoints" not in boxes[1][0]
        assert (counts.kept, counts.clipped, counts.lost) == (2, 0, 0)

    def test_clipped(self) -> None:
        # 10 wide, from 53 on: 7 inside the first tile, sqrt(0.7) = 0.84 of the size.
        _, boxes, counts = cut(one_box([53, 10, 10, 20]))
        found = boxes[0][0]
        assert found["bbox"] == [53, 10, 7, 20]
        assert found["area"] == 140
        assert found["size"] == math.sqrt(140)
        assert found["segmentation"] == [[53, 10, 53, 30, 60, 30, 60, 10]]
        assert not found.get("ignore")
        assert counts.clipped == 1

    @pytest.mark.parametrize(
        ("box", "keep", "is_kept"),
        [
            # 0.7 of sqrt(area) is 0.49 of the area.
            ([60 - 4.9, 10, 10, 20], 0.7, False),
            ([60 - 4.91, 10, 10, 20], 0.7, True),
            ([56, 10, 16, 4], 0.5, True),  # the exact share
        ],
    )
    def test_the_share_is_of_the_root_of_the_area(self, box, keep, is_kept) -> None:
        _, boxes, _ = cut(one_box(box), keep=keep, cut_boxes="drop")
        assert len(boxes[0]) == is_kept
        assert len(boxes[1]) == 1

    @pytest.mark.parametrize("fields", [{}, dict(ignore=False, uncertain=False)])
    def test_cut_too_far(self, fields: dict) -> None:
        coco = one_box([57, 10, 10, 20], **fields)
        _, boxes, counts = cut(coco)
        assert boxes[0][0]["bbox"] == [57, 10, 3, 20]
        assert boxes[0][0]["ignore"] is True
        assert not boxes[1][0].get("ignore")
        assert (counts.ignored, counts.dropped, counts.lost) == (1, 0, 0)
        _, boxes, counts = cut(coco, cut_boxes="drop")
        assert boxes[0] == []
        assert (counts.ignored, counts.dropped, counts.lost) == (0, 1, 0)

    def test_larger_than_any_tile(self) -> None:
        _, boxes, counts = cut(one_box([0, 0, 300, 80], width=300))
        assert counts.lost == 1 and counts.kept == 0
        assert all(b["ignore"] for tile in boxes.values() for b in tile)
        assert sum(map(len, boxes.values())) == counts.tiles

    @pytest.mark.parametrize(
        "box", [[45, 10, 0, 8], [45, 10, 8, -1], [200, 10, 8, 8], [-9, 10, 8, 8]]
    )
    def test_without_extent_or_outside(self, box: list[float]) -> None:
        _, boxes, counts = cut(one_box(box))
        assert not any(boxes.values())
        assert (counts.empty, counts.lost, counts.tiles_without_boxes) == (1, 0, 2)


def test_masks_are_clipped() -> None:
    """Tiles are [0, 60) and [40, 100) across; every mask is cut at 60."""
    mask = np.zeros((80, 100), np.uint8, order="F")
    mask[10:30, 50:64] = 1
    runs = dict(size=[80, 100], counts=encode(mask)["counts"].decode())
    lengths = np.diff(np.flatnonzero(np.diff(mask.ravel("F"), prepend=0)), prepend=0)
    plain = [int(n) for n in lengths]
    plain.append(80 * 100 - sum(plain))
    fields = dict(bbox=[50, 10, 14, 20], image_id=1, category_id=1)
    coco = one_box([50, 10, 14, 20]) | dict(
        annotations=[
            dict(fields, id=1, segmentation=[[50, 10, 64, 10, 50, 30]], area=140),
            dict(fields, id=2, segmentation=runs, iscrowd=1),
            dict(fields, id=3, segmentation=dict(runs, counts=plain), iscrowd=1),
            dict(fields, id=4, segmentation=[[50, 10, 64, 10, 64, 30, 50, 30]]),
        ]
    )
    _, boxes, _ = cut(coco)
    triangle, crowd, plain_crowd, box = boxes[0]
    # The tip beyond 60 is gone: 4 wide and 4 * 20 / 14 high.
    assert triangle["area"] == pytest.approx(140 - 4 * 4 * 20 / 14 / 2)
    points = np.array(triangle["segmentation"][0]).reshape(-1, 2)
    assert points[:, 0].max() == 60 and points.min() == 10
    expected = mask[:, :60]
    for found in (crowd, plain_crowd):
        assert found["iscrowd"] == 1 and found["area"] == expected.sum()
        assert np.array_equal(decode(found["segmentation"]), expected)
    assert box["segmentation"] == [[50, 10, 50, 30, 60, 30, 60, 10]]
    assert boxes[1][0]["segmentation"] == [[10, 10, 24, 10, 10, 30]]


def test_ids_are_new_and_start_at_one() -> None:
    coco = small_coco()
    coco["images"].append(coco["images"][0] | dict(id=77, file_name="b.png"))
    tiled, _ = tile_coco(coco, TileSettings((60, 80), (20, 20)))
    identifiers = [a["id"] for a in tiled["annotations"]]
    assert identifiers == list(range(1, len(identifiers) + 1))
    assert [i["id"] for i in tiled["images"]] == [0, 1, 2, 3]
    assert [i["file_name"] for i in tiled["images"]] == ["a.png"] * 2 + ["b.png"] * 2
    assert tiled["old_images"] == coco["images"]


def test_a_large_tile_and_no_boxes() -> None:
    images, boxes, _ = cut(small_coco(), size=(640, 512))
    assert [i["corner"] for i in images] == [[0, 0, 100, 80]]
    assert (images[0]["width"], images[0]["height"]) == (100, 80)
    assert len(boxes[0]) == 8  # all but the box without extent and the one outside
    images, boxes, counts = cut(dict(images=small_coco()["images"], categories=[]))
    assert len(images) == 2 and not any(boxes.values())
    assert "1 images became 2 tiles, 2 of them without boxes" in str(counts)


def test_refuses_tiles_and_files_named_twice() -> None:
    tiled, _ = tile_coco(small_coco(), TileSettings())
    with pytest.raises(ValueError, match="cut already"):
        tile_coco(tiled, TileSettings())
    coco = small_coco()
    coco["images"].append(coco["images"][0] | dict(id=6))
    with pytest.raises(ValueError, match="'a.png' belongs to two images"):
        tile_coco(coco, TileSettings())


def test_shares_of_random_boxes() -> None:
    """Against pixels counted one by one."""
    random = np.random.default_rng(0)
    low = random.integers(-5, 30, (40, 2))
    boxes = np.concatenate([low, random.integers(1, 12, (40, 2))], 1)
    corners = np.array([[0, 0, 16, 12], [10, 4, 26, 20]])
    parts, share, is_clipped = cut_boxes(boxes, corners)
    for t, (x1, y1, x2, y2) in enumerate(corners):
        for k, (x, y, width, height) in enumerate(boxes):
            pixels = sum(
                x1 <= px < x2 and y1 <= py < y2
                for px in range(x, x + width)
                for py in range(y, y + height)
            )
            assert share[t, k] ** 2 == pytest.approx(pixels / (width * height))
            assert is_clipped[t, k] == (pixels < width * height)
            if pixels:
                assert parts[t, k, 2:].prod() == pixels
