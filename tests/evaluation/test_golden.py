"""Every number that the released evaluation gave on the golden cases."""

import numpy as np
import pytest

from fpn_necks.evaluation import (
    EvaluationOptions,
    average_precision,
    evaluate_tiny_person,
    merge_tiles,
    miss_rate,
)
from fpn_necks.evaluation.boxes import Detections, GroundTruth, RankedDetections
from fpn_necks.evaluation.matching import IGNORED, UNRANKED, find_pairs
from tests.evaluation.golden_case import (
    expected_results,
    golden_arrays,
    golden_json,
)

CASES = ("tinyperson", "tinyperson_edge")
TOLERANCE = 1e-12
SETTINGS = {"ap": 8, "mr": 4}


@pytest.mark.parametrize("metric", ["ap", "mr"])
@pytest.mark.parametrize("case", CASES)
def test_every_table(case: str, metric: str) -> None:
    truth, detections = golden_json(f"{case}_gt"), golden_json(f"{case}_dets")
    rows = golden_json(f"{case}_expected")[metric]
    assert len(rows) == SETTINGS[metric]
    for row in rows:
        found = evaluate_tiny_person(
            truth, detections, metrics=(metric,), **row["options"]
        )
        expected = expected_results(row, metric)
        assert found == pytest.approx(expected, abs=TOLERANCE), row["options"]
        if row["is_released_default"]:
            defaults = evaluate_tiny_person(truth, detections, metrics=(metric,))
            assert defaults == found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("metric", "bucket"), [("ap", "all"), ("ap", "tiny"), ("mr", "tiny")]
)
def test_matches_of_every_detection(case: str, metric: str, bucket: str) -> None:
    arrays = golden_arrays(f"{case}_curves")
    truth = GroundTruth.of(golden_json(f"{case}_gt"))
    ranked = RankedDetections.of(Detections.read(golden_json(f"{case}_dets")), truth)
    rules = dict(ap=average_precision, mr=miss_rate)[metric]
    pairs = find_pairs(ranked, truth)
    counts, matched = rules.match_boxes(truth, ranked, pairs, EvaluationOptions())
    first = 3 * list(EvaluationOptions().ranges(metric)).index(bucket)
    golden = {
        name: arrays[f"{metric}match/{bucket}/{name}"]
        for name in ("gt_id", "det_id", "ignored")
    }
    rows = np.argsort(ranked.positions)[golden["det_id"] - 1]
    assert (counts[first] != UNRANKED).sum() == len(rows)
    for t in range(3):
        found = matched[first + t, rows]
        ids = np.where(found >= 0, truth.ids[found], 0).astype(int)
        np.testing.assert_array_equal(ids, golden["gt_id"][t])
        ignored = counts[first + t, rows] == IGNORED
        np.testing.assert_array_equal(ignored, golden["ignored"][t])


@pytest.mark.parametrize(
    ("threshold", "name"), [(0.5, "nms0.5"), (None, "nonms")], ids=["nms", "no nms"]
)
def test_merged_detections(threshold: float | None, name: str) -> None:
    images = golden_json("tiles_merged_gt")["images"]
    found = merge_tiles(
        golden_json("tiles_dets"), golden_json("tiles_corner_gt"), images, threshold
    )
    assert found == golden_json(f"tiles_merged_dets_{name}")


def test_tiles_evaluated_like_their_merged_detections() -> None:
    truth = golden_json("tiles_merged_gt")
    tables = golden_json("tiles_merged_expected")
    expected = {
        name: value
        for metric in ("ap", "mr")
        for name, value in expected_results(tables[metric][0], metric).items()
    }
    on_tiles = evaluate_tiny_person(
        truth, golden_json("tiles_dets"), golden_json("tiles_corner_gt")
    )
    on_images = evaluate_tiny_person(truth, golden_json("tiles_merged_dets_nms0.5"))
    assert on_tiles == pytest.approx(expected, abs=TOLERANCE)
    assert on_tiles == on_images
