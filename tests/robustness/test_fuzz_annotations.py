"""Annotation files with missing keys, wrong types, NaN, negative sizes, double ids.

What reads them must answer by a ValueError that says where the fault is, or by the
right result: the fault may be in a field that nobody needs.
"""

import copy
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fpn_necks.coco_files import check_coco
from fpn_necks.datasets.tiny_person import TileSettings, TinyPersonDataset
from fpn_necks.datasets.tiny_person.checker import count_boxes
from fpn_necks.datasets.tiny_person.city_persons import scale_coco
from fpn_necks.datasets.tiny_person.cutting import tile_coco
from fpn_necks.evaluation import evaluate_tiny_person
from tests.robustness.fuzzing import check_refusal, fuzz

Json = Any
JSON_JUNK: list[Json] = [
    None, True, False, -1, 0, 1, 2, 7, 1.5, math.nan, math.inf, -math.inf, 1e300,
    10**400, "", "1", "person", [], [0], [1, 2, 3, 4], [10, 10, -4, 5],
    [10, 10, 4, -5], [10, 10, -4, -5], [10, 10, 0, 5], [math.nan, 1, 2, 3],
    [1, 2, math.inf, 3], [1, 2, 10**400, 3], [0, 0, 1e300, 1e300],
    ["1", "2", "3", "4"], [True, 1, 2, 3], [[1, 2], [3, 4]], {}, {"id": 1}, {"1": 2},
]  # fmt: skip
SIDE = st.integers(1, 30)
LOW = st.integers(0, 50)


@st.composite
def coco_files(draw: st.DrawFn) -> dict[str, Json]:
    """A right file of TinyPerson's kind."""
    images = [
        dict(id=i, file_name=f"{i}.png", width=draw(st.integers(20, 90)), height=60)
        for i in draw(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))
    ]
    annotations = []
    for number in range(draw(st.integers(0, 5))):
        width, height = draw(SIDE), draw(SIDE)
        annotations.append(
            dict(
                id=number + 1,
                image_id=draw(st.sampled_from(images))["id"],
                category_id=draw(st.sampled_from([1, 2])),
                bbox=[draw(st.integers(-5, 80)), draw(LOW), width, height],
                area=width * height,
                iscrowd=draw(st.sampled_from([0, 0, 0, 1])),
                ignore=draw(st.sampled_from([False, False, True])),
                uncertain=False,
            )
        )
    categories = [dict(id=1, name="sea_person"), dict(id=2, name="earth_person")]
    return dict(images=images, annotations=annotations, categories=categories)


@st.composite
def detection_lists(draw: st.DrawFn, coco: dict[str, Json]) -> list[dict[str, Json]]:
    return [
        dict(
            image_id=draw(st.sampled_from(coco["images"]))["id"],
            category_id=draw(st.sampled_from([1, 2])),
            bbox=[draw(LOW), draw(LOW), 8, 9],
            score=draw(st.floats(0, 1)),
        )
        for _ in range(draw(st.integers(0, 5)))
    ]


def places(node: Json, path: tuple = ()) -> list[tuple]:
    """All paths below a JSON value but single numbers of a box."""
    found = [path]
    children = enumerate(node) if isinstance(node, list) else ()
    for key, child in node.items() if isinstance(node, dict) else children:
        found += places(child, (*path, key))
    return found


def spoil(draw: Any, data: Json) -> tuple[Json, str]:
    """Change one thing; return the changed copy, and what was changed, in words."""
    data = copy.deepcopy(data)
    path = draw(st.sampled_from(places(data)), "path")
    way = draw(st.sampled_from(["replace", "replace", "remove", "double"]), "way")
    value = draw(st.sampled_from(JSON_JUNK), "value")
    if not path:
        return copy.deepcopy(value), f"all of it is {value!r}"
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    if way == "remove":
        del parent[path[-1]]
    elif way == "double" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[path[-1]]))
    else:
        parent[path[-1]] = copy.deepcopy(value)
    return data, f"{path} {way} {value!r}"


def spoiled(data: st.DataObject, coco: Json) -> tuple[Json, str]:
    """Change one to three things."""
    words = []
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        coco, word = spoil(data.draw, coco)
        words.append(word)
    return coco, "; ".join(words)


NAMES = "image annotation categor detection tile corner COCO vis".split()
NAMES.append("ground truth")


@fuzz(200, coco=coco_files(), data=st.data(), wrong_truth=st.booleans())
def test_evaluation_of_spoiled_files(
    coco: dict[str, Json], data: st.DataObject, wrong_truth: bool
) -> None:
    detections = data.draw(detection_lists(coco), "detections")
    if wrong_truth:
        for annotation in coco["annotations"][::2]:
            # The fields of other sets of tiny objects.
            annotation |= dict(size=4.0, vis=[1, 1, 4, 4], in_dense_image=False)
        coco, what = spoiled(data, coco)
    else:
        detections, what = spoiled(data, detections)
    try:
        result = evaluate_tiny_person(coco, detections)
    except Exception as error:
        for source in (coco, detections):
            if isinstance(source, str):  # a path
                assert isinstance(error, FileNotFoundError) and source in str(error)
                return
        check_refusal(error, NAMES, what)
        return
    for name, value in result.items():
        assert value == -1 or 0 <= value <= 1, f"{what}: {name} {value}"


@fuzz(100, coco=coco_files(), data=st.data(), cut=st.booleans())
def test_tools_and_dataset_on_spoiled_annotations(
    coco: dict[str, Json], data: st.DataObject, cut: bool
) -> None:
    wrong, what = spoiled(data, coco)
    try:
        checked = check_coco(copy.deepcopy(wrong), "file.json")
        tiled, counts = tile_coco(checked, TileSettings((30, 40), (5, 5)))
        counted = count_boxes(checked)
        scaled = scale_coco(checked, 2)
    except Exception as error:
        check_refusal(error, ["file.json: ", "file.json is", "file '"], what)
        return
    total = len(checked["annotations"])
    assert counts.boxes == sum(counted.values()) == total, what
    assert len(scaled["annotations"]) == total
    for annotation in tiled["annotations"]:
        tile = tiled["images"][annotation["image_id"]]
        x, y, w, h = annotation["bbox"]
        assert w > 0 and h > 0 and x >= 0 and y >= 0, what
        assert x + w <= tile["width"] + 1e-3 and y + h <= tile["height"] + 1e-3, what
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "annotations.json"
            path.write_text(json.dumps(wrong))
            dataset = TinyPersonDataset(
                ann_file=str(path),
                data_prefix=dict(img=""),
                serialize_data=False,
                tiles=dict(size=(30, 40), overlap=(5, 5)) if cut else None,
                drop_dense=False,
                pipeline=[],
            )
    except Exception as error:
        check_refusal(error, ["annotations.json"], what)
        return
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    for info in infos:
        for instance in info["instances"]:
            assert np.isfinite(instance["bbox"]).all(), what
            assert instance["bbox_label"] == 0
    if cut:
        return
    known = {c["id"] for c in wrong["categories"] if "_person" in str(c.get("name"))}
    known |= {c["id"] for c in wrong["categories"] if c.get("name") == "person"}
    for info, image in zip(infos, wrong["images"], strict=True):
        expected = []  # the boxes that have an area inside of their image
        for annotation in wrong.get("annotations", []):
            x, y, w, h = annotation["bbox"]
            inside = w > 0 and h > 0 and 0 < x + w and x < image["width"]
            inside = inside and 0 < y + h and y < image["height"]
            mine = annotation["image_id"] == image["id"]
            if mine and inside and annotation["category_id"] in known:
                expected.append([x, y, x + w, y + h])
        assert [i["bbox"] for i in info["instances"]] == expected, what
