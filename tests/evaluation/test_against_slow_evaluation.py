"""Random small cases against plain loops; few values, so that ties and edges occur."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpn_necks.evaluation import evaluate_tiny_person
from tests.evaluation.slow_evaluation import slow_results

AP_RANGES = {"all": (1, 1e5), "tiny": (1, 4), "edge": (4, 6)}
MR_RANGES = {"tiny": (2, 4), "edge": (4, 6), "all": (-1, 1e10)}
THRESHOLDS = (0.25, 0.5, 1.0)

sides = st.sampled_from([0, 0.5, 2, 3, 4, 6, 8])
places = st.sampled_from([0, 1, 2, 3, 5, 8])
boxes = st.tuples(places, places, sides, sides).map(list)
flags = st.sampled_from([False, False, False, True])


@st.composite
def cases(draw):
    image_ids = draw(st.permutations([7, 3, 12]))
    annotations = []
    for number in range(draw(st.integers(0, 9))):
        box = draw(boxes)
        annotation = dict(
            id=number,
            image_id=draw(st.sampled_from(image_ids[:2])),
            category_id=draw(st.sampled_from([1, 1, 2])),
            bbox=box,
            area=draw(st.sampled_from([box[2] * box[3]] * 3 + [16, 40])),
            iscrowd=int(draw(flags)),
            ignore=draw(flags),
            uncertain=draw(flags),
        )
        if draw(flags):
            annotation["size"] = draw(st.sampled_from([2, 4, 5]))
        annotations.append(annotation)
    near = st.sampled_from([a["bbox"] for a in annotations]) if annotations else boxes
    detections = [
        dict(
            image_id=draw(st.sampled_from(image_ids)),
            category_id=draw(st.sampled_from([1, 1, 2])),
            bbox=draw(st.one_of(near, boxes)),
            score=draw(st.sampled_from([0.1, 0.3, 0.5, 0.9])),
        )
        for _ in range(draw(st.integers(0, 12)))
    ]
    truth = dict(
        images=[dict(id=i) for i in image_ids],
        annotations=annotations,
        categories=[dict(id=2, name="a"), dict(id=1, name="b")],
    )
    return truth, detections


@pytest.mark.parametrize("released", [True, False])
@settings(max_examples=60, deadline=None)
@given(
    case=cases(),
    switches=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    limits=st.sampled_from([(200, 1000), (2, 3), (4, 1)]),
)
def test_equals_plain_loops(released, case, switches, limits) -> None:
    truth, detections = case
    names = ("ignore_uncertain", "use_iod_for_ignore", "use_ignore_attr")
    options = dict(zip(names, switches, strict=True), released=released)
    options |= dict(ap_max_detections=limits[0], mr_max_detections=limits[1])
    ranges = dict(ap_ranges=AP_RANGES, mr_ranges=MR_RANGES)
    expected = slow_results(
        truth, detections, **ranges, thresholds=THRESHOLDS, **options
    )
    found = evaluate_tiny_person(
        truth, detections, iou_thresholds=THRESHOLDS, **ranges, **options
    )
    assert found == pytest.approx(expected, abs=1e-12)
