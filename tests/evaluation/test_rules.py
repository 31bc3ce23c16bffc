"""Properties of the rules, and other benchmarks' settings."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fpn_necks.evaluation import (
    AI_TOD,
    average_over_thresholds,
    evaluate_tiny_person,
    merge_tiles,
)
from tests.evaluation.golden_case import golden_json
from tests.evaluation.small_case import annotation, detection, small_case


def change_of(case: str) -> dict[str, float]:
    """Return how far the quirks move results from the corrected ones, in per cent."""
    files = golden_json(f"{case}_gt"), golden_json(f"{case}_dets")
    corrected = evaluate_tiny_person(*files, released=False)
    found = evaluate_tiny_person(*files)
    return {name: 100 * (found[name] - corrected[name]) for name in found}


def test_documented_changes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tiny_person.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| all four |"))
    written = [float(cell) for cell in row.strip("| ").split(" | ")[-5:]]
    main, edge = change_of("tinyperson"), change_of("tinyperson_edge")
    found = [main["AP50_tiny"], main["MR50_tiny"], max(main.values(), key=abs)]
    found += [edge["AP50_tiny"], edge["MR50_tiny"]]
    assert found == pytest.approx(written, abs=0.00501)


def test_of_equal_overlaps_the_last_is_taken() -> None:
    # The first detection lies in the middle between two boxes, the second one is on the
    # one that comes later in the file.
    truth, _ = small_case()
    truth["annotations"] = [
        annotation(1, 5, [10, 10, 8, 8]),
        annotation(2, 5, [14, 10, 8, 8]),
    ]
    detections = [detection(5, [12, 10, 8, 8], 0.9), detection(5, [14, 10, 8, 8], 0.8)]
    for place, share in (([14, 10, 8, 8], 51 / 101), ([10, 10, 8, 8], 1)):
        detections[1]["bbox"] = place
        found = evaluate_tiny_person(truth, detections)
        assert found["AP50_tiny"] == pytest.approx(share)
        # The second one is a false positive for half of the images, or all are found.
        assert found["MR50_tiny"] == (0 if share == 1 else pytest.approx(0.5))


@pytest.mark.parametrize(
    ("side", "is_ranked"), [(1.6, True), (1.5, False), (24.9, True), (25, False)]
)
def test_sizes_that_the_miss_rate_ranks(side: float, is_ranked: bool) -> None:
    truth, detections = small_case()
    detections.append(detection(9, [60, 20, side, side], 0.99))
    found = evaluate_tiny_person(truth, detections, metrics="mr", released=False)
    missed_before = 0.5 ** (2 / 9) if is_ranked else 0.5
    assert found["MR50_tiny"] == pytest.approx(missed_before)


@pytest.mark.parametrize(
    ("field", "options", "missed"),
    [
        ("ignore", {}, 1 / 2),
        ("iscrowd", {}, 1 / 2),
        ("uncertain", {}, 1 / 2),
        # The third person is not found; a false positive comes first.
        ("ignore", dict(use_ignore_attr=False), (2 / 3) ** (2 / 9)),
        ("uncertain", dict(ignore_uncertain=False), (2 / 3) ** (2 / 9)),
    ],
)
def test_what_the_corrected_miss_rate_ignores(
    field: str, options: dict, missed: float
) -> None:
    truth, detections = small_case()
    truth["annotations"][1] = annotation(2, 5, [50, 50, 20, 15], **{field: 1})
    detections[1]["score"] = 0.95
    found = evaluate_tiny_person(truth, detections, released=False, **options)
    assert found["MR50_tiny"] == pytest.approx(missed)


@pytest.mark.parametrize("released", [True, False])
def test_most_detections_of_an_image(released: bool) -> None:
    truth, _ = small_case()
    boxes = [10, 10, 6, 10], [50, 50, 6, 10]
    truth["annotations"] = [annotation(i, 5, box) for i, box in enumerate(boxes, 1)]
    detections = [detection(5, box, 0.9) for box in boxes]
    for limits, share, missed in (
        (dict(ap_max_detections=1), 51 / 101, 0),
        (dict(mr_max_detections=1), 1, 0.5),
    ):
        found = evaluate_tiny_person(truth, detections, released=released, **limits)
        assert found["AP50_tiny"] == pytest.approx(share)
        assert found["MR50_tiny"] == pytest.approx(missed)


def test_each_class_counts_alike() -> None:
    """Also one that is found without an error, but none without a box."""
    truth, detections = small_case()
    truth["categories"] += [dict(id=2, name="b"), dict(id=3, name="c")]
    box = [60, 20, 8, 9]
    truth["annotations"].append(dict(annotation(4, 9, box), category_id=2))
    detections.append(dict(detection(9, box, 0.3), category_id=2))
    found = evaluate_tiny_person(truth, detections)
    assert found["AP50_tiny"] == pytest.approx((51 / 101 + 1) / 2)
    assert found["MR50_tiny"] == pytest.approx((0.5 + 0) / 2)


def random_set(num_categories: int) -> tuple[dict, list[dict]]:
    random = np.random.default_rng(4)
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image in range(1, 13):
        for _ in range(20):
            side = float(np.exp(random.uniform(0, 4.5)))
            place = random.uniform(0, 150, 2)
            box = np.array([*place, side, side * random.uniform(0.5, 2)]).round(1)
            category = int(random.integers(1, num_categories + 1))
            record = annotation(len(annotations) + 1, image, box.tolist())
            crowd = int(random.random() < 0.1)
            annotations.append(dict(record, category_id=category, iscrowd=crowd))
            moved = box + np.tile(box[2:], 2) * random.normal(0, 0.15, 4)
            score = round(float(random.random()), 2)
            found = detection(image, moved.clip(0).tolist(), score)
            detections.append(dict(found, category_id=category))
    return (
        dict(
            images=[dict(id=i, height=300, width=300) for i in range(1, 13)],
            annotations=annotations,
            categories=[dict(id=i, name=str(i)) for i in range(1, num_categories + 1)],
        ),
        detections,
    )


def test_ai_tod_equals_pycocotools() -> None:
    truth, detections = random_set(num_categories=4)
    found = evaluate_tiny_person(truth, detections, **AI_TOD)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        reference = COCOeval(coco, coco.loadRes(detections), "bbox")
        reference.params.areaRng = [
            [low**2, high**2] for low, high in AI_TOD["ap_ranges"].values()
        ]
        reference.params.areaRngLbl = list(AI_TOD["ap_ranges"])
        reference.params.maxDets = [1, 100, 1500]
        reference.evaluate()
        reference.accumulate()
    for t, threshold in enumerate(AI_TOD["iou_thresholds"]):
        for a, bucket in enumerate(AI_TOD["ap_ranges"]):
            precision = reference.eval["precision"][t, :, :, a, -1]
            expected = precision[precision > -1].mean()
            name = f"AP{100 * threshold:g}_{bucket}"
            assert found[name] == pytest.approx(expected, abs=1e-12), name
    means = average_over_thresholds(found)
    assert list(means) == ["AP_all", "AP_very_tiny", "AP_tiny", "AP_small", "AP_medium"]
    per_threshold = [found[f"AP{t}_tiny"] for t in range(50, 100, 5)]
    assert means["AP_tiny"] == pytest.approx(np.mean(per_threshold))


def test_merging_per_class_against_plain_loops() -> None:
    random = np.random.default_rng(3)
    images = [dict(id=9, file_name="a"), dict(id=4, file_name="b")]
    tiles = dict(
        images=[
            dict(id=i, file_name=name, corner=[x, y, x + 50, y + 50])
            for i, (name, x, y) in enumerate(
                [("a", 0, 0), ("b", 0, 0), ("a", 30, 7), ("b", 0, 20)]
            )
        ]
    )
    detections = [
        dict(
            image_id=int(random.integers(4)),
            category_id=int(random.integers(1, 3)),
            bbox=[float(v) for v in random.integers([0, 0, 2, 2], [30, 20, 9, 9])],
            score=float(random.integers(1, 8)) / 8,  # with ties
        )
        for _ in range(300)
    ]
    expected = []
    for image in images:
        boxes = []
        for tile in tiles["images"]:
            if tile["file_name"] != image["file_name"]:
                continue
            for d in detections:
                if d["image_id"] == tile["id"]:
                    x, y, w, h = d["bbox"]
                    x, y = x + tile["corner"][0], y + tile["corner"][1]
                    boxes.append(dict(d, image_id=image["id"], bbox=[x, y, w, h]))
        kept: list[int] = []
        for i in sorted(range(len(boxes)), key=lambda i: -boxes[i]["score"]):
            if not any(is_double(boxes[i], boxes[j]) for j in kept):
                kept.append(i)
        expected += [boxes[i] for i in sorted(kept)]
    assert merge_tiles(detections, tiles, images, 0.5, True) == expected
    assert len(expected) < 290
    assert merge_tiles([], tiles, images) == []


def is_double(a: dict, b: dict) -> bool:
    if a["category_id"] != b["category_id"]:
        return False
    (ax, ay, aw, ah), (bx, by, bw, bh) = a["bbox"], b["bbox"]
    width = min(ax + aw, bx + bw) - max(ax, bx) + 1
    height = min(ay + ah, by + bh) - max(ay, by) + 1
    shared = max(width, 0) * max(height, 0)
    union = (aw + 1) * (ah + 1) + (bw + 1) * (bh + 1) - shared
    return shared / union >= 0.5


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = golden_json("tinyperson_edge_gt"), golden_json("tinyperson_edge_dets")
    expected = evaluate_tiny_person(*case)
    monkeypatch.setattr("fpn_necks.evaluation.matching._BLOCK", 50)
    assert evaluate_tiny_person(*case) == expected
