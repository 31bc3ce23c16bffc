"""The metric gives what the function gives: alone, in two processes, in a run."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import METRICS

from fpn_necks.datasets import SplitSummary, generate
from fpn_necks.datasets.tiny_person import TinyPersonDataset
from fpn_necks.evaluation import TinyPersonMetric, evaluate_tiny_person
from tests.evaluation.golden_case import golden_json
from tests.evaluation.small_case import small_case


def samples_of(images: list[dict], detections: list[dict]) -> list[dict[str, Any]]:
    """Return what a detector would hand to the metric, one sample per image."""
    samples = []
    for image in images:
        found = [d for d in detections if d["image_id"] == image["id"]]
        boxes = torch.tensor([d["bbox"] for d in found]).double().reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        predictions = dict(
            bboxes=boxes,
            scores=torch.tensor([d["score"] for d in found]).double(),
            labels=torch.zeros(len(found), dtype=torch.long),
        )
        samples.append(dict(img_id=image["id"], pred_instances=predictions))
    return samples


def write(folder: Path, name: str, data: Any) -> str:
    path = folder / name
    path.write_text(json.dumps(data))
    return str(path)


def prefixed(results: dict[str, float]) -> dict[str, float]:
    return {f"tiny_person/{name}": value for name, value in results.items()}


def evaluate(metric: TinyPersonMetric, samples: list, classes=("person",)) -> dict:
    metric.dataset_meta = dict(classes=classes)
    for start in range(0, len(samples), 3):
        metric.process({}, samples[start : start + 3])
    return metric.evaluate(len(samples))


@pytest.fixture
def gt_file(tmp_path: Path) -> str:
    return write(tmp_path, "gt.json", small_case()[0])


def test_whole_images_and_options(gt_file: str) -> None:
    truth, detections = small_case()
    samples = samples_of(truth["images"], detections)
    metric = METRICS.build(dict(type="TinyPersonMetric", ann_file=gt_file))
    expected = prefixed(evaluate_tiny_person(truth, detections))
    assert evaluate(metric, samples) == pytest.approx(expected)
    options = dict(released=False, metrics="ap", ap_ranges={"mine": (2, 50)})
    found = evaluate(TinyPersonMetric(gt_file, prefix="mine", **options), samples)
    assert set(found) == {"mine/AP25_mine", "mine/AP50_mine", "mine/AP75_mine"}
    # A box turned inside out is empty.
    predictions = samples[1]["pred_instances"]
    inside_out = torch.tensor([[99.0, 9.0, 98.999, 9.0]])
    predictions["bboxes"] = torch.cat([predictions["bboxes"], inside_out])
    predictions["scores"] = torch.tensor([*predictions["scores"], 0.01])
    predictions["labels"] = torch.tensor([*predictions["labels"], 0])
    written = TinyPersonMetric(gt_file, outfile_prefix=gt_file)
    assert evaluate(written, samples) == pytest.approx(expected)
    again = evaluate_tiny_person(gt_file, f"{gt_file}.bbox.json")
    assert prefixed(again) == pytest.approx(expected)


def tiled_case(folder: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Write the golden tiles' files; return the metric's arguments and the samples."""
    tiles = golden_json("tiles_corner_gt")
    files = dict(
        ann_file=write(folder, "gt.json", golden_json("tiles_merged_gt")),
        tiles=write(folder, "tiles.json", tiles),
    )
    return files, samples_of(tiles["images"], golden_json("tiles_dets"))


def test_tiles_and_the_written_file(tmp_path: Path) -> None:
    files, samples = tiled_case(tmp_path)
    prefix = tmp_path / "new folder" / "found"
    metric = TinyPersonMetric(**files, outfile_prefix=str(prefix))
    found = evaluate(metric, samples)
    written = Path(f"{prefix}.bbox.json")
    assert len(json.loads(written.read_text())) == 601
    assert found == prefixed(
        evaluate_tiny_person(files["ann_file"], written, files["tiles"])
    )


# The largest person fits into the overlap.
TILES = dict(size=(96, 80), overlap=(40, 40), keep=1.0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> SplitSummary:
    folder = tmp_path_factory.mktemp("drawn") / "set"
    looks = dict(image_size=(200, 150), size_range=(5, 20), ignore_fraction=0.2)
    # The evaluation takes printed people for people.
    looks |= dict(dense_fraction=0, logo_fraction=0)
    return generate(folder, 1, 3, **looks, progress=False).val


def dataset_of(drawn: SplitSummary, tiles: dict | None) -> TinyPersonDataset:
    return TinyPersonDataset(
        ann_file=str(drawn.annotation_file),
        data_prefix=dict(img=str(drawn.image_dir)),
        tiles=tiles,
        pipeline=[],
        test_mode=True,
        serialize_data=False,  # it runs the garbage collector
    )


def perfect_samples(dataset: TinyPersonDataset) -> list[dict[str, Any]]:
    """Return every person of every tile as a detection of it."""
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        people = [i["bbox"] for i in info["instances"] if not i["ignore_flag"]]
        predictions = dict(
            bboxes=torch.tensor(people).reshape(-1, 4),
            scores=torch.ones(len(people)),
            labels=torch.zeros(len(people), dtype=torch.long),
        )
        sample = dict(img_id=info["img_id"], pred_instances=predictions)
        samples.append(sample | {k: v for k, v in info.items() if k == "corner"})
    return samples


def test_settings_of_tiles_are_those_of_the_dataset(
    drawn: SplitSummary, tmp_path: Path
) -> None:
    """What finds everyone on tiles finds everyone in the images, once."""
    dataset = dataset_of(drawn, TILES)
    samples = perfect_samples(dataset)
    assert len(samples) == 3 * 9
    found = evaluate(TinyPersonMetric(drawn.annotation_file, tiles=TILES), samples)
    assert found["tiny_person/AP75_all"] == found["tiny_person/AP75_tiny"] == 1
    dataset.save_tiles(tmp_path / "tiles.json")
    of_file = TinyPersonMetric(drawn.annotation_file, tiles=tmp_path / "tiles.json")
    assert evaluate(of_file, samples) == found
    for sample in samples:
        del sample["corner"]  # as loaded by others
    assert evaluate(of_file, samples) == found


@pytest.mark.parametrize(
    ("of_dataset", "of_metric"),
    [(TILES, None), (TILES, TILES | dict(overlap=(36, 40))), (None, TILES)],
)
def test_other_tiles_are_refused(
    drawn: SplitSummary, of_dataset: dict | None, of_metric: dict | None
) -> None:
    samples = perfect_samples(dataset_of(drawn, of_dataset))
    metric = TinyPersonMetric(drawn.annotation_file, tiles=of_metric)
    with pytest.raises(ValueError, match="give both the same tiles"):
        evaluate(metric, samples)


def case_of_classes(names: Sequence[str]) -> dict:
    truth, _ = small_case()
    truth["categories"] = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    return truth


PERSON, BOTH = ("person",), ("sea_person", "earth_person")


@pytest.mark.parametrize(
    ("categories", "classes", "label", "merged"),
    [
        (("person", "buoy"), ("buoy", "person"), 1, False),
        (("person", "buoy"), PERSON, 0, False),
        (BOTH, PERSON, 0, False),  # sea and earth persons are persons
        (BOTH, BOTH, 1, True),
    ],
)
def test_classes_become_categories(
    tmp_path: Path, categories, classes, label: int, merged: bool
) -> None:
    truth, detections = small_case()
    of_classes = case_of_classes(categories)
    if categories == BOTH:
        of_classes["annotations"][0]["category_id"] = 2
    path = write(tmp_path, "gt.json", of_classes)
    samples = samples_of(truth["images"], detections)
    for sample in samples:
        sample["pred_instances"]["labels"].fill_(label)
    found = evaluate(TinyPersonMetric(path, merge_categories=merged), samples, classes)
    assert found == pytest.approx(prefixed(evaluate_tiny_person(truth, detections)))


@pytest.mark.parametrize("merged", [False, True])
def test_other_categories_and_labels_are_left_out(tmp_path: Path, merged: bool) -> None:
    """A person on each image, a buoy on the second, and a perfect person detector."""
    truth = case_of_classes(["person", "buoy"])
    perfect = [
        dict(image_id=a["image_id"], category_id=1, bbox=a["bbox"], score=0.9)
        for a in truth["annotations"]
        if not a.get("ignore")
    ]
    buoy = dict(truth["annotations"][0], id=4, image_id=9, category_id=2)
    truth["annotations"].append(buoy)
    samples = samples_of(truth["images"], perfect)
    predictions = samples[0]["pred_instances"]  # with a label beyond the classes
    shift = torch.tensor([[0], [30]])
    predictions["bboxes"] = predictions["bboxes"].repeat(2, 1) + shift
    predictions["scores"] = torch.tensor([0.9, 0.99])
    predictions["labels"] = torch.tensor([0, 7])
    options = dict(merge_categories=merged, outfile_prefix=str(tmp_path / "found"))
    metric = TinyPersonMetric(write(tmp_path, "gt.json", truth), **options)
    found = evaluate(metric, samples)
    assert found["tiny_person/AP50_tiny"] == pytest.approx(1)
    assert found["tiny_person/MR50_tiny"] == 0
    assert len(json.loads((tmp_path / "found.bbox.json").read_text())) == 2
    with pytest.raises(ValueError, match=r"\['cat'\] are not among"):
        metric.dataset_meta = dict(classes=("person", "cat"))
    with pytest.raises(ValueError, match="needs dataset_meta with 'classes'"):
        metric.dataset_meta = {}


def test_detections_are_written_before_anything_fails(
    tmp_path: Path, gt_file: str
) -> None:
    truth, detections = small_case()
    samples = samples_of(truth["images"], detections)
    samples[0]["img_id"] = 77
    metric = TinyPersonMetric(gt_file, outfile_prefix=str(tmp_path / "found"))
    with pytest.raises(ValueError, match="belongs to image 77"):
        evaluate(metric, samples)
    assert len(json.loads((tmp_path / "found.bbox.json").read_text())) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(ann_file="none.json"), FileNotFoundError, "No such file.*none.json"),
        (dict(tiles="none.json"), FileNotFoundError, "No such file"),
        (dict(tiles="gt.json"), ValueError, "tile 5 must have a 'corner'"),
        (dict(tiles=dict(sizes=1)), TypeError, r"the unknown keys \['sizes'\]"),
        (dict(metrics="bbox"), ValueError, "metrics must be some of"),
        (dict(iou_thrs=[0.5]), TypeError, "iou_thrs"),
        (dict(format_only=True), ValueError, "needs an outfile_prefix"),
    ],
)
def test_wrong_arguments_stop_before_the_run(
    gt_file: str, monkeypatch: pytest.MonkeyPatch, options, error, message
) -> None:
    monkeypatch.chdir(Path(gt_file).parent)
    with pytest.raises(error, match=message):
        TinyPersonMetric(**(dict(ann_file="gt.json") | options))


def test_two_processes_get_the_same_as_one(tmp_path: Path) -> None:
    files, samples = tiled_case(tmp_path)
    number = 33  # of 34 tiles; mmengine's sampler repeats one to make it even
    alone = evaluate(TinyPersonMetric(**files), samples[:number])
    assert alone["tiny_person/AP50_tiny"] > 0.4
    metrics = [TinyPersonMetric(**files) for _ in range(2)]
    for rank, metric in enumerate(metrics):
        metric.dataset_meta = dict(classes=("person",))
        for sample in [*samples[:number], samples[0]][rank::2]:
            metric.process({}, [sample])
    # As mmengine collects them: pickled, in turn, without what was repeated.
    parts = [pickle.loads(pickle.dumps(metric.results)) for metric in metrics]
    collected = [result for turn in zip(*parts, strict=True) for result in turn]
    found = metrics[0].compute_metrics(collected[:number])
    assert prefixed(found) == alone
