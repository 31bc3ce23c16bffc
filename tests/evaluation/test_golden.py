"""Every number that the released evaluation gave on the golden cases."""

import numpy as np
import pytest

from fpn_necks.evaluation import EvaluationOptions, evaluate_tiny_person, merge_tiles
from fpn_necks.evaluation.annotations import (
    rank_detections,
    read_detections,
    read_ground_truth,
)
from fpn_necks.evaluation.average_precision import RECALL_POINTS, average_precision
from fpn_necks.evaluation.miss_rate import FALSE_POSITIVES_PER_IMAGE, miss_rate
from fpn_necks.evaluation.overlaps import find_pairs
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


def test_released_defaults_are_the_defaults() -> None:
    truth, detections = (
        golden_json("tinyperson_edge_gt"),
        golden_json("tinyperson_edge_dets"),
    )
    tables = golden_json("tinyperson_edge_expected")
    expected: dict[str, float] = {}
    for metric in ("ap", "mr"):
        (row,) = (row for row in tables[metric] if row["is_released_default"])
        expected |= expected_results(row, metric)
    found = evaluate_tiny_person(truth, detections)
    assert found == pytest.approx(expected, abs=TOLERANCE)


def curves(case: str):
    """Return the golden arrays and table, and both of our metrics in full."""
    truth = read_ground_truth(golden_json(f"{case}_gt"))
    ranked = rank_detections(read_detections(golden_json(f"{case}_dets")), truth)
    pairs = find_pairs(ranked.boxes, ranked.groups, truth.boxes, truth.groups)
    options = EvaluationOptions()
    found = average_precision(truth, ranked, pairs, options.settings("ap"))
    missed = miss_rate(truth, ranked, pairs, options.settings("mr"))
    arrays, tables = golden_arrays(f"{case}_curves"), golden_json(f"{case}_expected")
    return arrays, tables, truth, ranked, found, missed


@pytest.mark.parametrize("case", CASES)
def test_precision_curves(case: str) -> None:
    arrays, tables, _, _, found, _ = curves(case)
    buckets = list(EvaluationOptions().ap_ranges)
    assert arrays["ap/areaRngLbl"].tolist() == buckets
    close = dict(atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(RECALL_POINTS, arrays["ap/recThrs"], **close)
    np.testing.assert_allclose(
        found.precision[:, :, 0], arrays["ap/precision"], **close
    )
    np.testing.assert_allclose(found.recall[:, 0], arrays["ap/recall"], **close)
    np.testing.assert_allclose(found.scores[:, :, 0], arrays["ap/scores"], **close)
    default = next(row for row in tables["ap"] if row["is_released_default"])
    positives = dict(zip(buckets, found.outcomes.num_positives[0], strict=True))
    assert positives == default["num_positives"]


@pytest.mark.parametrize("case", CASES)
def test_miss_rate_curves(case: str) -> None:
    arrays, tables, _, _, _, missed = curves(case)
    # Their last bit depends on numpy.
    np.testing.assert_allclose(
        FALSE_POSITIVES_PER_IMAGE, arrays["mr/fppiThrs"], rtol=1e-15
    )
    default = next(row for row in tables["mr"] if row["is_released_default"])
    buckets = list(EvaluationOptions().mr_ranges)
    for i, name in enumerate(arrays["mr/setup"].tolist()):
        b = buckets.index(name.lower())
        np.testing.assert_allclose(
            missed.recall[:, :, 0, b], arrays["mr/recall_at_fppi"][i], atol=TOLERANCE
        )
        assert missed.outcomes.num_positives[0, b] == default["num_positives"][name]
        wrapped = [row[name] for row in default["n_fppi_points_wrapped"].values()]
        assert missed.num_wrapped[:, 0, b].tolist() == wrapped


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("key", "bucket"), [("apmatch", "all"), ("apmatch", "tiny"), ("mrmatch", "tiny")]
)
def test_matches_of_every_detection(case: str, key: str, bucket: str) -> None:
    arrays, _, truth, ranked, found, missed = curves(case)
    options = EvaluationOptions()
    metric = found if key == "apmatch" else missed
    ranges = options.ap_ranges if key == "apmatch" else options.mr_ranges
    first = 3 * list(ranges).index(bucket)
    outcomes = metric.outcomes
    expected_ids = arrays[f"{key}/{bucket}/gt_id"]
    rows = np.argsort(ranked.positions)[arrays[f"{key}/{bucket}/det_id"] - 1]
    assert outcomes.counted[first].sum() == len(rows)
    for t in range(3):
        matched = outcomes.matched[first + t, rows]
        ids = np.where(matched >= 0, truth.ids[matched], 0).astype(int)
        np.testing.assert_array_equal(ids, expected_ids[t])
        ignored = ~outcomes.true[first + t, rows] & ~outcomes.false[first + t, rows]
        np.testing.assert_array_equal(ignored, arrays[f"{key}/{bucket}/ignored"][t])


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
