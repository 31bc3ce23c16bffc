"""All that writes a file for the user, by name: each writes TARGET below a folder."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch

from fpn_necks.checkpoints import write_checkpoint
from fpn_necks.costs.detector_picture import draw_detector_costs
from fpn_necks.datasets import generate
from fpn_necks.datasets.tiny_person import TinyPersonDataset, write_coco
from fpn_necks.datasets.tiny_person.city_persons import scale_images
from fpn_necks.datasets.tiny_person.erase import erase_images
from fpn_necks.evaluation import TinyPersonMetric
from fpn_necks.inference.folders import ResultFolder
from fpn_necks.reproduction.drawing import draw_report
from fpn_necks.reproduction.reporting import gather
from fpn_necks.reproduction.results import write_json, write_text
from fpn_necks.statistics.estimate import FusionFactorEstimate
from fpn_necks.visualization import draw_samples, draw_training_curve, load_samples
from fpn_necks.visualization.figures import save
from tests.costs.test_detector_report import detector as detector_numbers
from tests.datasets.tiny_person.conftest import small_coco, write
from tests.inference.test_folders import sample_of
from tests.reproduction.tiny_table import tiny_table

TOOLS = Path(__file__).parents[2] / "tools"
Write = Callable[[Path], object]
TILES = dict(size=(64, 48), overlap=(20, 10))
WRITERS: dict[str, tuple[str, Write]] = {}


def writes(target: str) -> Callable[[Write], Write]:
    """Register a function under its name with the file it writes."""

    def register(function: Write) -> Write:
        WRITERS[function.__name__] = target, function
        return function

    return register


def load_tool(name: str) -> ModuleType:
    """Import a command line by its path below tools, without ending."""
    path = TOOLS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"files_{path.stem}", path)
    tool = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tool
    spec.loader.exec_module(tool)
    return tool


def make_inputs(folder: Path) -> None:
    """Write what the writers read, but for what they make."""
    coco = small_coco()
    write(folder / "in.json", coco)
    (folder / "images").mkdir()
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "images" / "a.png"), image)
    found = [dict(image_id=5, category_id=1, bbox=[9, 9, 8, 8], score=0.9)]
    (folder / "found.json").write_text(json.dumps(found))
    (folder / "scalars.json").write_text(json.dumps(dict(iter=1, loss=2.0)))


def coco(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "in.json").read_text())


def estimate() -> FusionFactorEstimate:
    return FusionFactorEstimate("objects", ["P2", "P3"], [4, 2], [0.5], 1, 6)


@writes("out.json")
def annotations(folder: Path) -> None:
    write_coco(folder / "out.json", coco(folder), overwrite=True)


@writes("out.json")
def tiles_of_a_dataset(folder: Path) -> None:
    dataset = TinyPersonDataset(
        ann_file=str(folder / "in.json"),
        data_prefix=dict(img=str(folder / "images")),
        tiles=TILES,
        serialize_data=False,
    )
    dataset.save_tiles(folder / "out.json", overwrite=True)


@writes("set/annotations/train.json")
def drawn_set(folder: Path) -> None:
    generate(
        folder / "set", 1, 1, (64, 64), (6, 20), (1, 2), overwrite=True, progress=False
    )


@writes("erased/a.png")
def erased_images(folder: Path) -> None:
    erase_images(coco(folder), folder / "images", folder / "erased")


@writes("scaled/a.png")
def scaled_images(folder: Path) -> None:
    scale_images(coco(folder), folder / "images", folder / "scaled", 4)


@writes("found.bbox.json")
def detections_of_the_metric(folder: Path) -> None:
    metric = TinyPersonMetric(
        folder / "in.json", format_only=True, outfile_prefix=str(folder / "found")
    )
    metric.dataset_meta = dict(classes=("sea_person", "earth_person"))
    boxes = torch.tensor([[1.0, 1, 9, 9]])
    found = dict(bboxes=boxes, scores=torch.ones(1), labels=torch.zeros(1))
    found["labels"] = found["labels"].long()
    metric.process({}, [dict(img_id=5, pred_instances=found)])
    metric.evaluate(1)


def result_folder(folder: Path) -> ResultFolder:
    settings = folder / "results" / "settings.json"
    if not settings.exists():
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("{}\n")
    results = ResultFolder.__new__(ResultFolder)
    results.root, results.settings = folder / "results", {}
    return results


@writes("results/settings.json")
def settings_of_results(folder: Path) -> None:
    ResultFolder(folder / "results", dict(tile=list(range(20))), force=True)


@writes("results/detections/a.png.json")
def detections_on_an_image(folder: Path) -> None:
    path = folder / "images" / "a.png"
    result_folder(folder).save("a.png", path, sample_of((1, 2, 5, 8)))


@writes("results/drawn/a.png")
def drawn_detections(folder: Path) -> None:
    result_folder(folder).save_picture("a.png", np.zeros((40, 50, 3), np.uint8))


@writes("results/detections.json")
def detections_of_all_images(folder: Path) -> None:
    paths = {"a.png": folder / "images" / "a.png"}
    result_folder(folder).write_coco(paths, ("x",))


@writes("out.pth")
def checkpoint(folder: Path) -> None:
    write_checkpoint(dict(state_dict=dict(a=torch.ones(500))), folder / "out.pth", True)


@writes("out.json")
def result_of_a_run(folder: Path) -> None:
    write_json(folder / "out.json", dict(a=[float("nan")] * 9))


@writes("out.py")
def config_of_a_run(folder: Path) -> None:
    write_text(folder / "out.py", "model = dict(type='RetinaNet', neck=None)\n")


@writes("report.png")
def report_of_a_table(folder: Path) -> None:
    shutil.rmtree(folder / "tables", ignore_errors=True)
    table = tiny_table(folder)
    assert draw_report(table, gather(table, folder), folder / "report.png")


@writes("counts.png")
def picture_of_counts(folder: Path) -> None:
    estimate().draw(folder / "counts.png")


@writes("costs.png")
def picture_of_costs(folder: Path) -> None:
    numbers = [detector_numbers("plain", 1.0), detector_numbers("ours", 1.5)]
    draw_detector_costs(dict(setting="how", detectors=numbers), folder / "costs.png")


@writes("samples.png")
def picture_of_detections(folder: Path) -> None:
    samples = load_samples(
        folder / "in.json", folder / "found.json", folder / "images", 1
    )
    draw_samples(samples, folder / "samples.png")


@writes("losses.png")
def picture_of_a_training(folder: Path) -> None:
    draw_training_curve(folder / "scalars.json", folder / "losses.png")


@writes("maps.png")
def picture_of_a_neck(folder: Path) -> None:
    from matplotlib.figure import Figure

    save(Figure(figsize=(1, 1)), folder / "maps.png")


def _main(name: str, *words: object, **changes: Any) -> int:
    """Run a command line in this process with some of its names replaced."""
    tool = load_tool(name)
    for key, value in changes.items():
        assert hasattr(tool, key)
        setattr(tool, key, value)
    before = sys.argv
    sys.argv = [name, *map(str, words)]
    try:
        return tool.main()
    finally:
        sys.argv = before


COMMANDS: dict[str, tuple[str, Callable[[Path], int]]] = {
    "tile_coco": (
        "out.json",
        lambda f: _main(
            "dataset_converters/tile_coco", f / "in.json", f / "out.json",
            "--size", 64, 48, "--overlap", 20, 10, "--force", "--no-progress",
        ),
    ),
    "erase_ignored": (
        "out.json",
        lambda f: _main(
            "dataset_converters/erase_ignored", f / "in.json", f / "images",
            f / "erased", "--json", f / "out.json", "--force", "--resume",
            "--no-progress",
        ),
    ),
    "city_persons": (
        "out.json",
        lambda f: _main(
            "dataset_converters/city_persons", f / "in.json", f / "images",
            f / "scaled", f / "out.json", "--force", "--resume", "--no-progress",
        ),
    ),
    "evaluate_tiny_person": (
        "out.json",
        lambda f: _main(
            "evaluate_tiny_person", "--gt", f / "in.json", "--detections",
            f / "found.json", "--json", f / "out.json", "--force",
        ),
    ),
    "make_synthetic_tiny_person": (
        "set/annotations/val.json",
        lambda f: _main(
            "make_synthetic_tiny_person", f / "set", "--num-train", 1, "--num-val", 1,
            "--image-size", 64, 64, "--size-range", 6, 20, "--overwrite",
            "--people-per-image", 1, 2, "--no-progress",
        ),
    ),
    "estimate_fusion_factors": (
        "factors/fusion_factor.py",
        lambda f: _main(
            "estimate_fusion_factors", f / "config.py", "--out", f / "factors",
            "--force",
            Config=SimpleNamespace(fromfile=lambda _: {}),
            estimate_from_config=lambda *_, **__: estimate(),
        ),
    ),
    "make_model_zoo": (
        "page.md",
        lambda f: _main(
            "make_model_zoo", "--page", f / "page.md",
            make_tables=lambda *_: "new", replace_tables=lambda old, new: old + new,
        ),
    ),
}  # fmt: skip
"""Command line -> its last file, and how to run it; what takes long is replaced."""
