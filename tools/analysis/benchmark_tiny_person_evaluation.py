"""Time TinyPerson's evaluation against pycocotools' plain average precision.

Makes a seeded set of TinyPerson's size (786 images, 13.8k people, 4.8k ignored or
uncertain boxes, 200 detections per image), writes both files, and measures from files
to numbers: AP and MR of all thresholds and buckets here, COCO's ten thresholds and four
areas there. Every measurement runs in a process of its own, so that its peak memory is
its own; ratios are of processor time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

IMAGES, PEOPLE, IGNORED, DETECTIONS = 786, 13_800, 4_800, 200
WIDTH, HEIGHT = 1920, 1080


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
            boxes.tolist(), is_ignored.tolist(), is_uncertain.tolist(), strict=True
        ):
            annotation = dict(image_id=i, category_id=1, iscrowd=0, bbox=box)
            annotation |= dict(id=len(annotations) + 1, area=box[2] * box[3])
            annotation |= dict(ignore=ignore and not uncertain, uncertain=uncertain)
            annotations.append(annotation)
        found, scores = _detected_boxes(random, boxes)
        detections += [
            dict(image_id=i, category_id=1, bbox=box, score=score)
            for box, score in zip(found.tolist(), scores.tolist(), strict=True)
        ]
    paths = folder / "ground_truth.json", folder / "detections.json"
    categories = [dict(id=1, name="person")]
    truth = dict(images=images, annotations=annotations, categories=categories)
    paths[0].write_text(json.dumps(truth))
    paths[1].write_text(json.dumps(detections))
    return paths


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


RUNS = {
    "ours": evaluate_ours,
    "pycocotools": evaluate_pycocotools,
}


def measure(name: str, folder: str) -> dict[str, Any]:
    """Run once in this process; return seconds, peak memory and results."""
    run = RUNS[name](Path(folder))  # imports and input are not what is measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu_start = time.perf_counter(), time.process_time()
    results = run()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = dict(peak_megabytes=peak / 1024, megabytes_before=before / 1024)
    return dict(seconds=seconds, cpu_seconds=cpu_seconds, **memory, results=results)


def measure_apart(name: str, folder: str, runs: int) -> dict[str, Any]:
    """Measure in processes of their own; return the run of median processor time."""
    command = [sys.executable, __file__, "--measure", name, folder]
    found = []
    for _ in range(runs):
        done = subprocess.run(command, check=True, capture_output=True)
        # Packages may say something when they are imported.
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return sorted(found, key=lambda run: run["cpu_seconds"])[(runs - 1) // 2]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1, help="times as many images")
    parser.add_argument("--runs", type=int, default=3, help="the median is reported")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = synthetic_files(Path(folder), arguments.scale)
        sizes = " and ".join(f"{path.stat().st_size / 1e6:.1f} MB" for path in paths)
        print(f"files: {sizes}")
        numbers = {name: measure_apart(name, folder, arguments.runs) for name in RUNS}
    for name, run in numbers.items():
        print(
            f"{name}: {run['cpu_seconds']:.2f} s of processor time, "
            f"{run['seconds']:.2f} s in all (median of {arguments.runs} runs), peak "
            f"memory {run['peak_megabytes']:.0f} MB, of them "
            f"{run['megabytes_before']:.0f} MB before it"
        )
    ratio = numbers["pycocotools"]["cpu_seconds"] / numbers["ours"]["cpu_seconds"]
    print(f"ratio pycocotools' AP / our AP and MR: {ratio:.1f}")


if __name__ == "__main__":
    main()
