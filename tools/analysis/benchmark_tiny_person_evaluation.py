"""Time TinyPerson's evaluation against pycocotools' plain average precision.

Makes a seeded set of TinyPerson's size (786 images, 13.8k people, 4.8k ignored or
uncertain boxes, 200 detections per image), writes both files, and measures from files
to numbers: AP and MR of all thresholds and buckets here, COCO's ten thresholds and four
areas there. Then the same with tiles: 12 of 640x512 and 100 detections on each, which
are merged first; the other side merges them with torchvision's NMS, image by image, and
evaluates nothing. Every measurement runs in a process of its own, so that its peak
memory is its own; ratios are of processor time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fpn_necks.datasets.tiny_person import tile_corners

IMAGES, PEOPLE, IGNORED, DETECTIONS = 786, 13_800, 4_800, 200
WIDTH, HEIGHT = 1920, 1080
# The released evaluation and pycocotools in seconds, one core of one machine, on a set
# of this size: what the released evaluation would take here follows from pycocotools.
RELEASED_SECONDS, PYCOCOTOOLS_SECONDS = 96.0, 16.7


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1, help="times as many images")
    parser.add_argument("--runs", type=int, default=3, help="the median is reported")
    parser.add_argument(
        "--without-pycocotools", action="store_true", help="measure ours alone"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for name in ("scale", "runs"):
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name} must be above 0, got {getattr(arguments, name)}")
    if arguments.json is not None and arguments.json.exists():
        parser.error(f"--json: {arguments.json} exists; it is not overwritten")
    return arguments


def synthetic_files(folder: Path, scale: float) -> tuple[Path, Path]:
    """Write ground truth and detections; return their paths.

    Boxes stand in clusters, as people on a beach do. Detections are boxes moved by a
    few per cent of their size, often several of one box, and wrong ones between them.
    """
    random = np.random.default_rng(0)
    num_images = max(1, round(IMAGES * scale))
    share = random.lognormal(0, 1, num_images).clip(0.05, 8)
    share /= share.sum()
    people = random.multinomial(round(PEOPLE * scale), share)
    ignored = random.multinomial(round(IGNORED * scale), share)
    images, annotations, detections = [], [], []
    for i in range(num_images):
        images.append(dict(id=i, file_name=f"{i}.jpg", width=WIDTH, height=HEIGHT))
        boxes = _clustered_boxes(random, people[i] + ignored[i])
        is_ignored = random.permutation(len(boxes)) < ignored[i]
        is_uncertain = is_ignored & (random.random(len(boxes)) < 0.6)
        for box, ignore, uncertain in zip(
            boxes, is_ignored.tolist(), is_uncertain.tolist(), strict=True
        ):
            annotation = dict(
                id=len(annotations) + 1,
                image_id=i,
                category_id=1,
                bbox=box.tolist(),
                area=float(box[2] * box[3]),
                iscrowd=0,
                ignore=ignore and not uncertain,
                uncertain=uncertain,
            )
            annotations.append(annotation)
        found, scores = _detected_boxes(random, boxes)
        detections += [
            dict(image_id=i, category_id=1, bbox=box, score=score)
            for box, score in zip(found.tolist(), scores.tolist(), strict=True)
        ]
    paths = folder / "ground_truth.json", folder / "detections.json"
    _write_tiles(folder, images, annotations, random)
    categories = [dict(id=1, name="person")]
    truth = dict(images=images, annotations=annotations, categories=categories)
    paths[0].write_text(json.dumps(truth))
    paths[1].write_text(json.dumps(detections))
    return paths


def _write_tiles(
    folder: Path, images: list[dict], annotations: list[dict], random: Any
) -> None:
    """Write tiles.json and tile_detections.json: 100 detections on every tile."""
    owners = np.array([a["image_id"] for a in annotations])
    boxes = np.array([a["bbox"] for a in annotations])
    tiles, detections = [], []
    for image in images:
        own = boxes[owners == image["id"]]
        for x1, y1, x2, y2 in tile_corners((WIDTH, HEIGHT), (640, 512), (50, 50)):
            corner = [int(x1), int(y1), int(x2), int(y2)]
            tile = dict(image, id=len(tiles), corner=corner, width=640, height=512)
            inside = ((own[:, :2] >= (x1, y1)) & (own[:, :2] < (x2, y2))).all(1)
            found, scores = _detected_boxes(random, own[inside] - (x1, y1, 0, 0))
            detections += [
                dict(image_id=tile["id"], category_id=1, bbox=box, score=score)
                for box, score in zip(
                    found[:100].tolist(), scores.tolist(), strict=False
                )
            ]
            tiles.append(tile)
    (folder / "tiles.json").write_text(json.dumps(dict(images=tiles, categories=[])))
    (folder / "tile_detections.json").write_text(json.dumps(detections))


def _clustered_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    """Return ``(count, 4)`` boxes (x, y, width, height), sides of 2 to 100 px."""
    size = np.exp(random.normal(2.6, 0.7, count)).clip(2, 100)
    aspect = np.exp(random.normal(-0.4, 0.4, count))
    sides = np.stack([size * np.sqrt(aspect), size / np.sqrt(aspect)], 1)
    clusters = random.random((max(1, count // 8), 2)) * (WIDTH, HEIGHT)
    centres = clusters[random.integers(len(clusters), size=count)]
    centres = centres + random.normal(0, 25, (count, 2))
    return np.concatenate([centres - sides / 2, sides], 1).round(2)


def _detected_boxes(
    random: np.random.Generator, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return 200 boxes and their scores; some scores are equal."""
    wrong = _clustered_boxes(random, DETECTIONS)
    scores = random.beta(1, 6, DETECTIONS)
    if len(boxes):
        source = random.integers(len(boxes), size=DETECTIONS)
        near = boxes[source]
        near = near + near[:, [2, 3, 2, 3]] * random.normal(0, 0.12, near.shape)
        is_near = random.random(DETECTIONS) < 0.75
        wrong = np.where(is_near[:, None], near, wrong)
        scores = np.where(is_near, random.beta(3, 2, DETECTIONS), scores)
    wrong[:, 2:] = wrong[:, 2:].clip(1)
    return wrong.round(2), scores.round(4)


def evaluate_ours(folder: Path) -> Callable[[], Any]:
    """From files to all AP and MR."""
    from fpn_necks.evaluation import evaluate_tiny_person

    files = folder / "ground_truth.json", folder / "detections.json"
    return lambda: evaluate_tiny_person(*files)


def evaluate_pycocotools(folder: Path) -> Callable[[], Any]:
    """From files to COCO's AP with its default parameters."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def run() -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(folder / "ground_truth.json")
            found = truth.loadRes(str(folder / "detections.json"))
            evaluation = COCOeval(truth, found, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {"AP": float(evaluation.stats[0])}

    return run


def merge_ours(folder: Path) -> Callable[[], Any]:
    """From detections on tiles to those on images, as dicts."""
    from fpn_necks.evaluation import merge_tiles

    names = "tile_detections", "tiles", "ground_truth"
    found, tiles, truth = (_load(folder / f"{name}.json") for name in names)
    return lambda: len(merge_tiles(found, tiles, truth["images"]))


def evaluate_tiles_ours(folder: Path) -> Callable[[], Any]:
    """From arrays on tiles, as TinyPersonMetric has them, to all AP and MR."""
    from fpn_necks.evaluation import EvaluationOptions
    from fpn_necks.evaluation.boxes import Detections
    from fpn_necks.evaluation.tiny_person import evaluate_detections

    table = Detections.read(folder / "tile_detections.json")
    tiles, truth = (_load(folder / f"{n}.json") for n in ("tiles", "ground_truth"))
    return lambda: evaluate_detections(truth, table, tiles, EvaluationOptions())


def merge_torchvision(folder: Path) -> Callable[[], Any]:
    """The same merging by torchvision's NMS, dict by dict."""
    import torch
    from torchvision.ops import nms

    found, tiles = (_load(folder / f"{n}.json") for n in ("tile_detections", "tiles"))

    def run() -> int:
        corners = {tile["id"]: tile for tile in tiles["images"]}
        images: dict[str, list[dict]] = {}
        for detection in found:
            tile = corners[detection["image_id"]]
            (x1, y1, _, _), (x, y, w, h) = tile["corner"], detection["bbox"]
            shifted = dict(detection, bbox=[x + x1, y + y1, w, h])
            images.setdefault(tile["file_name"], []).append(shifted)
        kept = []
        for records in images.values():
            boxes = torch.tensor([record["bbox"] for record in records])
            boxes[:, 2:] += boxes[:, :2]
            scores = torch.tensor([record["score"] for record in records])
            kept += [records[i] for i in nms(boxes, scores, 0.5).sort().values]
        return len(kept)

    return run


RUNS = {
    "ours": evaluate_ours,
    "pycocotools": evaluate_pycocotools,
    "ours, merging tiles": merge_ours,
    "torchvision, merging tiles": merge_torchvision,
    "ours, AP and MR on tiles": evaluate_tiles_ours,
}


def _load(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _peak_megabytes() -> float:
    # Of this program alone: getrusage has that of the process it was forked from, too.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(name: str, folder: str) -> dict[str, Any]:
    """Run once in this process; return seconds, peak memory and results."""
    run = RUNS[name](Path(folder))  # imports and input are not what is measured
    before = _peak_megabytes()
    start, cpu_start = time.perf_counter(), time.process_time()
    results = run()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    memory = dict(peak_megabytes=_peak_megabytes(), megabytes_before=before)
    return dict(seconds=seconds, cpu_seconds=cpu_seconds, **memory, results=results)


def measure_apart(name: str, folder: str, runs: int) -> dict[str, Any]:
    """Measure in processes of their own; return the run of median processor time."""
    command = [sys.executable, __file__, "--measure", name, folder]
    found = []
    for _ in range(runs):
        done = subprocess.run(command, check=True, capture_output=True)
        # Packages may say something when they are imported.
        found.append(json.loads(done.stdout.splitlines()[-1]))
    median = statistics.median_low([run["cpu_seconds"] for run in found])
    return next(run for run in found if run["cpu_seconds"] == median)


def main() -> int:
    """Run the benchmark; return its exit status."""
    arguments = parse_arguments()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        paths = synthetic_files(Path(folder), arguments.scale)
        print(
            f"files: {' and '.join(f'{p.stat().st_size / 1e6:.1f} MB' for p in paths)}"
        )
        names = list(RUNS)
        if arguments.without_pycocotools:
            names.remove("pycocotools")
        numbers = {name: measure_apart(name, folder, arguments.runs) for name in names}
    for name, run in numbers.items():
        print(
            f"{name}: {run['cpu_seconds']:.2f} s of processor time, "
            f"{run['seconds']:.2f} s in all (median of {arguments.runs} runs), peak "
            f"memory {run['peak_megabytes']:.0f} MB, of them "
            f"{run['megabytes_before']:.0f} MB before it"
        )
    if "pycocotools" in numbers:
        ratio = numbers["pycocotools"]["cpu_seconds"] / numbers["ours"]["cpu_seconds"]
        implied = ratio * RELEASED_SECONDS / PYCOCOTOOLS_SECONDS
        print(f"ratio pycocotools' AP / our AP and MR: {ratio:.1f}")
        print(f"implied ratio to the released AP and MR: {implied:.0f}")
    merging = [numbers[f"{n}, merging tiles"] for n in ("torchvision", "ours")]
    ratio = merging[0]["cpu_seconds"] / merging[1]["cpu_seconds"]
    print(f"ratio torchvision's merging / ours: {ratio:.1f}")
    if arguments.json:
        from fpn_necks.io import write_json

        write_json(arguments.json, dict(scale=arguments.scale, **numbers), indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
