"""Detections beside the ground truth, from COCO json files.

Any detector's result file (COCO results format, as mmdet's ``CocoMetric`` writes with
``outfile_prefix``) can be drawn; no model is needed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.lines import Line2D
from torchvision.ops import box_iou

from fpn_necks.detectors import read_image
from fpn_necks.io import image_path

from .boxes import show_frames, to_8_bits
from .figures import new_figure, save

TRUTH_COLOUR = "#ffd92f"
FOUND_COLOUR = "#33dd55"
FALSE_COLOUR = "#ff3344"
IGNORED_COLOUR = "#c8d0d8"
# TinyPerson's evaluation ignores these boxes.
IGNORED_FIELDS = ("ignore", "uncertain", "iscrowd")


@dataclass(frozen=True)
class DetectionSample:
    """One image with its ground truth and its detections.

    Args:
        image_path: The image file.
        truth: `(n, 4)` boxes as x1, y1, x2, y2 in pixels.
        detections: `(m, 4)` boxes alike, by falling score.
        scores: `(m,)` scores in [0, 1].
        ignored: `(k, 4)` boxes that need not be found, and in which it is not wrong to
            find something.
    """

    image_path: Path
    truth: np.ndarray
    detections: np.ndarray
    scores: np.ndarray
    ignored: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))


def _corners(boxes: Sequence[Sequence[float]]) -> np.ndarray:
    """Turn x, y, width, height rows into `(n, 4)` x1, y1, x2, y2."""
    array = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def _is_ignored(annotation: dict) -> bool:
    return any(annotation.get(name) for name in IGNORED_FIELDS)


def load_samples(
    annotation_file: str | Path,
    results_file: str | Path,
    image_dir: str | Path,
    count: int,
    score_threshold: float = 0.3,
) -> list[DetectionSample]:
    """Read images spread evenly over a set, with truth and detections.

    Args:
        annotation_file: COCO json of the set; boxes with ``ignore``, ``uncertain`` or
            ``iscrowd`` are the samples' ignored ones.
        results_file: COCO results json: image_id, bbox (x, y, width, height), score.
        image_dir: Folder that the file names of the set start from.
        count: Number of images; fewer if the set is smaller.
        score_threshold: Detections below this score are left out.

    Raises:
        ValueError: `count` is below 1, a file is no JSON, or a file name leads out of
            `image_dir`.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    coco, results = _read_json(annotation_file), _read_json(results_file)
    truth: dict[int, list] = defaultdict(list)
    ignored: dict[int, list] = defaultdict(list)
    for annotation in coco["annotations"]:
        boxes = ignored if _is_ignored(annotation) else truth
        boxes[annotation["image_id"]].append(annotation["bbox"])
    found: dict[int, list] = defaultdict(list)
    for result in sorted(results, key=lambda r: -r["score"]):
        if result["score"] >= score_threshold:
            found[result["image_id"]].append(result)
    images = coco["images"]
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round()
    samples = []
    for image in (images[int(index)] for index in chosen):
        detections = found[image["id"]]
        samples.append(
            DetectionSample(
                image_path=image_path(image_dir, image["file_name"]),
                truth=_corners(truth[image["id"]]),
                detections=_corners([d["bbox"] for d in detections]),
                scores=np.array([d["score"] for d in detections], dtype=float),
                ignored=_corners(ignored[image["id"]]),
            )
        )
    return samples


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def lie_in_ignored(
    detections: np.ndarray, ignored: np.ndarray, least_share: float = 0.5
) -> np.ndarray:
    """Say which detections an ignored box covers for the most part.

    Args:
        detections: `(m, 4)` boxes as x1, y1, x2, y2 in pixels.
        ignored: `(k, 4)` boxes alike.
        least_share: Least share of a detection's area in one ignored box.

    Returns:
        `(m,)` bool.

    Example:
        >>> found = np.array([[0.0, 0, 4, 4], [8, 0, 12, 4]])
        >>> lie_in_ignored(found, np.array([[0.0, 0, 9, 9]]))
        array([ True, False])
    """
    low = np.maximum(detections[:, None, :2], ignored[None, :, :2])
    high = np.minimum(detections[:, None, 2:], ignored[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = np.prod(detections[:, 2:] - detections[:, :2], axis=-1)
    return (common >= least_share * np.maximum(areas, 1e-9)[:, None]).any(axis=1)


def match_boxes(
    detections: np.ndarray, truth: np.ndarray, iou_threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Match detections, by falling score, each to the best free true box.

    Args:
        detections: `(m, 4)` boxes as x1, y1, x2, y2 in pixels, by falling score.
        truth: `(n, 4)` boxes alike.
        iou_threshold: Least IoU of a match.

    Returns:
        `(m,)` bool, which detections are right, and `(n,)` bool, which true boxes
        were found.

    Example:
        >>> box = np.array([[0.0, 0, 10, 10]])
        >>> match_boxes(np.repeat(box, 2, 0), box)
        (array([ True, False]), array([ True]))
    """
    right = np.zeros(len(detections), dtype=bool)
    found = np.zeros(len(truth), dtype=bool)
    overlaps = box_iou(*map(torch.from_numpy, (detections, truth))).numpy()
    for index in range(len(detections)):
        candidates = np.where(found, -1.0, overlaps[index])
        if len(candidates) and candidates.max() >= iou_threshold:
            right[index] = True
            found[candidates.argmax()] = True
    return right, found


def draw_samples(
    samples: Sequence[DetectionSample],
    path: str | Path,
    score_threshold: float = 0.3,
    title: str = "Ground truth (left) and detections (right)",
) -> None:
    """Write one picture: per image the ground truth and, beside it, the detections.

    A detection is right if it has an IoU of at least 0.5 with a person who has no
    better-scored detection. Ignored boxes are dotted, and detections that lie in them
    neither right nor false.

    Args:
        samples: the images, one row each.
        path: picture file to write; its ending decides the format.
        score_threshold: threshold that the detections were read with, for the titles.
        title: of the whole picture.

    Raises:
        ValueError: there are no samples, or an image cannot be read.
        OSError: an image cannot be opened.
    """
    if not samples:
        raise ValueError("samples must hold at least one image, got none")
    images = [to_8_bits(read_image(x.image_path))[..., ::-1] for x in samples]
    tallest = max(image.shape[0] / image.shape[1] for image in images)
    figure, grid = new_figure(
        title, (len(samples), 2), (6.0, 6.0 * tallest + 0.35), margins=(0.4, 0.6)
    )
    for (left, right), x, image in zip(grid, samples, images, strict=True):
        hits, found = match_boxes(x.detections, x.truth)
        # As in TinyPerson's evaluation: only what matches nobody is looked for there.
        neither = ~hits & lie_in_ignored(x.detections, x.ignored)
        false = ~hits & ~neither
        for axes in (left, right):
            axes.imshow(image)
            axes.set_axis_off()
            show_frames(axes, x.ignored, IGNORED_COLOUR, style=":")
        show_frames(left, x.truth, TRUTH_COLOUR)
        left.set_title(f"{x.image_path.name}: {len(x.truth)} people", fontsize=11)
        for chosen, colour in (
            (hits, FOUND_COLOUR),
            (neither, IGNORED_COLOUR),
            (false, FALSE_COLOUR),
        ):
            scores = x.scores[chosen]
            show_frames(right, x.detections[chosen], colour, scores=scores)
        show_frames(right, x.truth[~found], TRUTH_COLOUR, style="--")
        right.set_title(
            f"score ≥ {score_threshold:g}: {hits.sum()} found, {false.sum()} false, "
            f"{(~found).sum()} missed",
            fontsize=11,
        )
    figure.legend(
        handles=[
            Line2D([], [], color=colour, label=label, linestyle=style)
            for colour, label, style in (
                (TRUTH_COLOUR, "person", "-"),
                (FOUND_COLOUR, "detection, right", "-"),
                (FALSE_COLOUR, "detection, false", "-"),
                (TRUTH_COLOUR, "person, missed", "--"),
                (IGNORED_COLOUR, "ignored", ":"),
            )
        ],
        loc="outside lower center",
        ncols=5,
        facecolor="#667788",
        labelcolor="white",
    )
    save(figure, path)
