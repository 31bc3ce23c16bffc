"""Time TinyPerson's evaluation beside pycocotools, and the merging of tiles.

Makes a seeded set of TinyPerson's size (786 images, 13.8k people, 4.8k ignored boxes,
200 detections per image) and measures from files to numbers: AP and MR of all
thresholds and buckets here, COCO's ten thresholds and four areas there. Then 12 tiles
per image with 100 detections each: merged here and by torchvision's NMS, image by
image, and merged and evaluated as TinyPersonMetric does it. Ratios are of processor
time, of runs in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import nms

from fpn_necks.datasets.tiny_person import tile_corners
from fpn_necks.evaluation import EvaluationOptions, evaluate_tiny_person, merge_tiles
from fpn_necks.evaluation.boxes import Detections
from fpn_necks.evaluation.tiny_person import evaluate_detections

IMAGES, PEOPLE_PER_IMAGE, IGNORED_SHARE = 786, 24, 0.26
WIDTH, HEIGHT, TILE, OVERLAP = 1920, 1080, (640, 512), (50, 50)


def clustered_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    """Return ``(count, 4)`` boxes (x, y, width, height) in clusters, as on a beach."""
    size = np.exp(random.normal(2.6, 0.7, count)).clip(2, 100)
    aspect = np.exp(random.normal(-0.4, 0.4, count))
    sides = np.stack([size * np.sqrt(aspect), size / np.sqrt(aspect)], 1)
    clusters = random.random((max(1, count // 8), 2)) * (WIDTH, HEIGHT)
    centres = clusters[random.integers(len(clusters), size=count)]
    centres = centres + random.normal(0, 25, (count, 2))
    return np.concatenate([centres - sides / 2, sides], 1).round(2)


def detections(
    random: np.random.Generator, boxes: np.ndarray, image_id: int, count: int
) -> list[dict]:
    """Return detections near the boxes, often several of one, and wrong ones."""
    found = clustered_boxes(random, count)
    is_near = (random.random(count) < 0.75) & (len(boxes) > 0)
    if len(boxes):
        near = boxes[random.integers(len(boxes), size=count)]
        near = near + near[:, [2, 3, 2, 3]] * random.normal(0, 0.12, near.shape)
        found = np.where(is_near[:, None], near, found)
    found[:, 2:] = found[:, 2:].clip(1)
    scores = np.where(is_near, random.beta(3, 2, count), random.beta(1, 6, count))
    return [
        dict(image_id=image_id, category_id=1, bbox=box, score=score)
        for box, score in zip(
            found.round(2).tolist(), scores.round(4).tolist(), strict=True
        )
    ]


def write_set(folder: Path, num_images: int) -> dict[str, Path]:
    """Write the truth, the detections, the tiles and the detections on them."""
    random = np.random.default_rng(0)
    images, annotations, found, tiles, on_tiles = [], [], [], [], []
    for i in range(num_images):
        image = dict(id=i, file_name=f"{i}.jpg", width=WIDTH, height=HEIGHT)
        images.append(image)
        boxes = clustered_boxes(random, random.poisson(PEOPLE_PER_IMAGE))
        annotations += [
            dict(
                id=len(annotations) + number,
                image_id=i,
                category_id=1,
                bbox=box.tolist(),
                area=float(box[2] * box[3]),
                iscrowd=0,
                ignore=bool(random.random() < IGNORED_SHARE),
            )
            for number, box in enumerate(boxes, 1)
        ]
        found += detections(random, boxes, i, 200)
        for corner in tile_corners((WIDTH, HEIGHT), TILE, OVERLAP):
            low, high = corner[:2], corner[2:]
            inside = ((boxes[:, :2] >= low) & (boxes[:, :2] < high)).all(1)
            own = boxes[inside] - (*low, 0, 0)
            on_tiles += detections(random, own, len(tiles), 100)
            corner = [int(side) for side in corner]
            width, height = TILE
            tile = dict(id=len(tiles), corner=corner, width=width, height=height)
            tiles.append(image | tile)
    categories = [dict(id=1, name="person")]
    truth = dict(images=images, annotations=annotations, categories=categories)
    contents = dict(
        truth=truth, found=found, tiles=dict(images=tiles), on_tiles=on_tiles
    )
    paths = {name: folder / f"{name}.json" for name in contents}
    for name, content in contents.items():
        paths[name].write_text(json.dumps(content))
    return paths


def run_pycocotools(truth: Path, found: Path) -> None:
    """From files to COCO's AP with its default parameters."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(truth)
        evaluation = COCOeval(coco, coco.loadRes(str(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()


def merge_by_torchvision(found: list[dict], tiles: list[dict]) -> list[dict]:
    """Merge detections on tiles by torchvision's NMS, image by image."""
    by_id = {tile["id"]: tile for tile in tiles}
    images: dict[str, list[dict]] = {}
    for detection in found:
        tile = by_id[detection["image_id"]]
        (x1, y1, _, _), (x, y, w, h) = tile["corner"], detection["bbox"]
        shifted = dict(detection, bbox=[x + x1, y + y1, w, h])
        images.setdefault(tile["file_name"], []).append(shifted)
    kept = []
    for records in images.values():
        boxes = torch.tensor([record["bbox"] for record in records])
        boxes[:, 2:] += boxes[:, :2]
        scores = torch.tensor([record["score"] for record in records])
        kept += [records[i] for i in nms(boxes, scores, 0.5).sort().values]
    return kept


def main() -> None:
    """Time everything in turns; print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--runs", type=int, default=3, help="the median is reported")
    arguments = parser.parse_args()
    if min(arguments.images, arguments.runs) < 1:
        parser.error("--images and --runs must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_set(Path(folder), arguments.images)
        data: dict[str, Any] = {n: json.loads(p.read_text()) for n, p in paths.items()}
        table = Detections.read(paths["on_tiles"])
        found, tiles, truth = data["on_tiles"], data["tiles"], data["truth"]
        runs = {
            "AP and MR": lambda: evaluate_tiny_person(paths["truth"], paths["found"]),
            "pycocotools, AP": lambda: run_pycocotools(paths["truth"], paths["found"]),
            "merging tiles": lambda: merge_tiles(found, tiles, truth["images"]),
            "torchvision, merging": lambda: merge_by_torchvision(
                found, tiles["images"]
            ),
            "AP and MR on tiles": lambda: evaluate_detections(
                truth, table, tiles, EvaluationOptions()
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.runs):
            for name, run in runs.items():
                start = time.process_time()
                run()
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.2f} s of processor time")
    for ours, theirs in (
        ("AP and MR", "pycocotools, AP"),
        ("merging tiles", "torchvision, merging"),
    ):
        print(f"ratio {theirs} / {ours}: {medians[theirs] / medians[ours]:.1f}")


if __name__ == "__main__":
    main()
