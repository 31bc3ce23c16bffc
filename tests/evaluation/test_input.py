"""What is read, and what is refused with one message that names the fault."""

import copy
import json
import math
from pathlib import Path

import pytest

from fpn_necks.evaluation import evaluate_tiny_person, merge_tiles
from tests.evaluation.small_case import small_case

TILES = dict(
    images=[
        dict(id=1, file_name="a.jpg", corner=[0, 0, 60, 80]),
        dict(id=2, file_name="a.jpg", corner=[40, 0, 100, 80]),
        dict(id=3, file_name="b.jpg", corner=[0, 0, 100, 80]),
    ]
)


def test_small_case() -> None:
    found = evaluate_tiny_person(*small_case())
    # Recall 1/2 at precision 1: 51 of the 101 recall points.
    assert found["AP50_tiny"] == pytest.approx(51 / 101)
    # The one false positive is half a one per image: beyond no point but the last two.
    assert found["MR50_tiny"] == pytest.approx(0.5)
    assert found["AP50_reasonable"] == -1
    assert found["MR50_small"] == -1
    assert len(found) == 3 * (7 + 6)


def test_what_makes_no_difference(tmp_path: Path) -> None:
    """Paths or objects, fields that may be missing, image ids that are strings."""
    truth, detections = case = small_case()
    before = copy.deepcopy(case)
    expected = evaluate_tiny_person(truth, detections)
    assert case == before, "the input is not changed"
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "dt.json").write_text(json.dumps(detections))
    from_files = evaluate_tiny_person(tmp_path / "gt.json", str(tmp_path / "dt.json"))
    assert from_files == expected
    for record in truth["annotations"]:
        del record["area"]
        record.pop("uncertain", None)
    del truth["categories"]
    for record in truth["images"]:
        record["id"] = f"image {record['id']}"
    for record in truth["annotations"] + detections:
        record["image_id"] = f"image {record['image_id']}"
    assert evaluate_tiny_person(truth, detections) == expected


@pytest.mark.parametrize("seen", [{"vis_ratio": 0.5}, {"vis": [20, 20, 4, 9]}])
def test_invisible_boxes_are_ignored_by_the_miss_rate(seen: dict) -> None:
    truth, detections = small_case()
    truth["annotations"][2] |= seen
    found = evaluate_tiny_person(truth, detections)
    assert found["MR50_tiny"] == 0
    assert found["AP50_tiny"] == pytest.approx(51 / 101)


def test_dense_images_are_left_out() -> None:
    truth, detections = small_case()
    truth["annotations"][2]["in_dense_image"] = True
    counted = evaluate_tiny_person(truth, detections)
    assert counted["AP50_tiny"] == pytest.approx(51 / 101)
    left_out = evaluate_tiny_person(truth, detections, leave_out_dense=True)
    assert left_out["AP50_tiny"] == pytest.approx(1)
    assert left_out["MR50_tiny"] == 0
    tiles = dict(images=TILES["images"][:2])
    on_tiles = [dict(detections[0], image_id=1), dict(detections[1], image_id=1)]
    merged = evaluate_tiny_person(truth, on_tiles, tiles, leave_out_dense=True)
    assert merged == left_out


def test_merged_categories() -> None:
    truth, detections = small_case()
    truth["categories"] = [
        dict(id=1, name="sea_person"),
        dict(id=2, name="earth_person"),
    ]
    truth["annotations"][0]["category_id"] = 2
    assert evaluate_tiny_person(truth, detections)["AP50_tiny"] == 0
    merged = evaluate_tiny_person(truth, detections, merge_categories=True)
    assert merged == evaluate_tiny_person(*small_case())


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        ("detection", "score", math.nan, "detection 1 must have"),
        ("detection", "score", "high", "detection 1 must have"),
        ("detection", "bbox", [1, 2, 3], "detection 1 must have"),
        ("detection", "bbox", [1, 2, math.nan, 3], "detection 1 must have"),
        ("detection", "bbox", [1, 2, -3, 3], "detection 1 must have"),
        ("detection", "image_id", 77, "detection 1 belongs to image 77"),
        ("detection", "image_id", [5], "detection 1 must have"),
        ("detection", "category_id", 3, "detection 1 belongs to category"),
        ("detection", "score", ..., "detection 1 must have"),
        ("annotations", "area", -1, "annotation 2 has the area -1"),
        ("annotations", "size", math.nan, "annotation 2 has the size nan"),
    ],
)
def test_wrong_records(kind: str, key: str, value: object, message: str) -> None:
    """A value of ... is none at all."""
    truth, detections = small_case()
    record = (detections if kind == "detection" else truth[kind])[1]
    record[key] = value
    if value is ...:
        del record[key]
    with pytest.raises(ValueError, match=message):
        evaluate_tiny_person(truth, detections)


@pytest.mark.parametrize(
    ("truth", "detections", "message"),
    [
        ([], [], "expected a dict, got a list"),
        (dict(images=[]), [], "no image to evaluate"),
        (dict(images={}, annotations=[]), [], "no list 'images'"),
        (dict(images=[3], annotations=[]), [], "image without 'id': 3"),
        (small_case()[0], {}, "the detections must be COCO results.* got a dict"),
        (small_case()[0], small_case()[0], "the detections must be COCO results"),
    ],
)
def test_wrong_containers(truth: object, detections: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_tiny_person(truth, detections)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(2), "1 images have no tile, such as 'b.jpg'"),
        (lambda t: t[2].update(file_name="c.jpg"), "tile 3 .* got 'c.jpg'"),
        (lambda t: t[1].pop("corner"), "tile 2 must have a 'corner'"),
        (lambda t: t[1].update(corner=[1, 2]), r"image 2 .* the corner \[1, 2\]"),
        (lambda t: t[1].update(corner=[0, 0, 9, 9] * 2), "image 2 .* the corner"),
        (lambda t: t[0].update(id=8), "detection 0 belongs to tile 1, which the tile"),
    ],
)  # fmt: skip
def test_wrong_tiles(change, message: str) -> None:
    truth, _ = small_case()
    tiles = copy.deepcopy(TILES)
    change(tiles["images"])
    detections = [dict(record, image_id=1) for record in small_case()[1][:2]]
    with pytest.raises(ValueError, match=message):
        merge_tiles(detections, tiles, truth["images"])
    with pytest.raises(ValueError, match="the NMS threshold must be finite and above"):
        merge_tiles(detections, TILES, truth["images"], 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(metrics="recall"), ValueError, "metrics must be some of"),
        (dict(metrics=()), ValueError, "metrics must be some of"),
        (dict(iou_thresholds=(0, 0.5)), ValueError, "above 0 and at most 1, got 0"),
        (dict(iou_thresholds=0.5), TypeError, "iou_thresholds must be a list"),
        (dict(mr_ranges={"a": (3, 2)}), ValueError, "mr_ranges must map names to"),
        (dict(ap_max_detections=0), ValueError, "ap_max_detections must be at least 1"),
        (dict(colour=1), TypeError, "colour"),
    ],
)
def test_wrong_options(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate_tiny_person(*small_case(), **options)
