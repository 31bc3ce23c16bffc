"""The metric gives what the function gives: alone, in two processes, in a run."""

import json
import pickle
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


def test_whole_images(gt_file: str) -> None:
    truth, detections = small_case()
    metric = METRICS.build(dict(type="TinyPersonMetric", ann_file=gt_file))
    found = evaluate(metric, samples_of(truth["images"], detections))
    assert found == pytest.approx(prefixed(evaluate_tiny_person(truth, detections)))


def test_options_reach_the_evaluation(gt_file: str) -> None:
    truth, detections = small_case()
    options = dict(released=False, metrics="ap", ap_ranges={"mine": (2, 50)})
    metric = TinyPersonMetric(gt_file, prefix="mine", **options)
    found = evaluate(metric, samples_of(truth["images"], detections))
    assert set(found) == {"mine/AP25_mine", "mine/AP50_mine", "mine/AP75_mine"}


def test_boxes_turned_inside_out_are_empty(gt_file: str) -> None:
    truth, detections = small_case()
    samples = samples_of(truth["images"], detections)
    expected = evaluate(TinyPersonMetric(gt_file), samples)
    predictions = samples[1]["pred_instances"]
    predictions["bboxes"] = torch.cat(
        [predictions["bboxes"], torch.tensor([[99.0, 9.0, 98.999, 9.0]])]
    )
    predictions["scores"] = torch.tensor([*predictions["scores"], 0.01])
    predictions["labels"] = torch.tensor([*predictions["labels"], 0])
    assert evaluate(TinyPersonMetric(gt_file), samples) == expected


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
    [
        (TILES, None),
        (TILES, TILES | dict(overlap=(36, 40))),
        (None, TILES),
    ],
)
def test_other_tiles_are_refused(
    drawn: SplitSummary, of_dataset: dict | None, of_metric: dict | None
) -> None:
    samples = perfect_samples(dataset_of(drawn, of_dataset))
    metric = TinyPersonMetric(drawn.annotation_file, tiles=of_metric)
    with pytest.raises(ValueError, match="give both the same tiles"):
        evaluate(metric, samples)


def case_of_classes(names: list[str]) -> dict:
    truth, _ = small_case()
    truth["categories"] = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    return truth


def test_classes_become_categories(tmp_path: Path) -> None:
    _, detections = small_case()
    truth = case_of_classes(["person", "buoy"])
    path = write(tmp_path, "gt.json", truth)
    samples = samples_of(truth["images"], detections)
    for label, classes in ((1, ("buoy", "person")), (0, ("person",))):
        for sample in samples:
            sample["pred_instances"]["labels"].fill_(label)
        found = evaluate(TinyPersonMetric(path), samples, classes)
        assert found == pytest.approx(prefixed(evaluate_tiny_person(truth, detections)))


def two_classes(tmp_path: Path) -> tuple[str, list[dict[str, Any]]]:
    """A person on each image, a buoy on the second, and a perfect person detector."""
    truth = case_of_classes(["person", "buoy"])
    buoy = dict(truth["annotations"][0], id=4, image_id=9, category_id=2)
    truth["annotations"].append(buoy)
    perfect = [
        dict(image_id=a["image_id"], category_id=1, bbox=a["bbox"], score=0.9)
        for a in truth["annotations"]
        if a["category_id"] == 1 and not a.get("ignore")
    ]
    return write(tmp_path, "gt.json", truth), samples_of(truth["images"], perfect)


@pytest.mark.parametrize("merged", [False, True])
def test_other_categories_are_not_evaluated(tmp_path: Path, merged: bool) -> None:
    path, samples = two_classes(tmp_path)
    metric = TinyPersonMetric(path, merge_categories=merged)
    found = evaluate(metric, samples)
    assert found["tiny_person/AP50_tiny"] == pytest.approx(1)
    assert found["tiny_person/MR50_tiny"] == 0


@pytest.mark.parametrize("merged", [False, True])
def test_foreign_classes_stop_before_the_first_batch(
    tmp_path: Path, merged: bool
) -> None:
    path, _ = two_classes(tmp_path)
    metric = TinyPersonMetric(path, merge_categories=merged)
    with pytest.raises(ValueError, match=r"\['cat'\] are not among"):
        metric.dataset_meta = dict(classes=("person", "cat"))
    with pytest.raises(ValueError, match="needs dataset_meta with 'classes'"):
        metric.dataset_meta = {}


def test_two_classes_on_a_merged_file(gt_file: str) -> None:
    truth, detections = small_case()
    metric = TinyPersonMetric(gt_file, merge_categories=True)
    samples = samples_of(truth["images"], detections)
    samples[0]["pred_instances"]["labels"].fill_(1)
    found = evaluate(metric, samples, ("sea_person", "earth_person"))
    assert found == pytest.approx(prefixed(evaluate_tiny_person(truth, detections)))


def test_labels_beyond_the_classes_are_left_out(tmp_path: Path) -> None:
    path, samples = two_classes(tmp_path)
    predictions = samples[0]["pred_instances"]
    predictions["bboxes"] = predictions["bboxes"].repeat(2, 1) + torch.tensor(
        [[0], [30]]
    )
    predictions["scores"] = torch.tensor([0.9, 0.99])
    predictions["labels"] = torch.tensor([0, 7])
    metric = TinyPersonMetric(path, outfile_prefix=str(tmp_path / "found"))
    assert evaluate(metric, samples)["tiny_person/AP50_tiny"] == pytest.approx(1)
    assert len(json.loads((tmp_path / "found.bbox.json").read_text())) == 2


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


def test_sea_and_earth_persons_are_persons(tmp_path: Path) -> None:
    _, detections = small_case()
    truth = case_of_classes(["sea_person", "earth_person"])
    truth["annotations"][0]["category_id"] = 2
    path = write(tmp_path, "gt.json", truth)
    found = evaluate(TinyPersonMetric(path), samples_of(truth["images"], detections))
    assert found == pytest.approx(prefixed(evaluate_tiny_person(*small_case())))


def test_wrong_arguments_stop_before_the_run(tmp_path: Path, gt_file: str) -> None:
    with pytest.raises(FileNotFoundError, match="no such file.*none.json"):
        TinyPersonMetric(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="no such file"):
        TinyPersonMetric(gt_file, tiles=tmp_path / "none.json")
    with pytest.raises(ValueError, match="tile 5 has no 'corner'"):
        TinyPersonMetric(gt_file, tiles=gt_file)
    with pytest.raises(TypeError, match=r"tiles has the unknown keys \['sizes'\]"):
        TinyPersonMetric(gt_file, tiles=dict(sizes=(640, 512)))
    with pytest.raises(ValueError, match="metrics must be some of"):
        TinyPersonMetric(gt_file, metrics="bbox")
    with pytest.raises(TypeError, match="iou_thrs"):
        TinyPersonMetric(gt_file, iou_thrs=[0.5])
    with pytest.raises(ValueError, match="needs an outfile_prefix"):
        TinyPersonMetric(gt_file, format_only=True)


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
