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

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from fpn_necks.image_paths import image_path
from fpn_necks.whole_files import save_figure

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
    """Turns x, y, width, height rows into `(n, 4)` x1, y1, x2, y2."""
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
    """Reads images spread evenly over a set, with truth and detections.

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


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)


def _intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Common area of each pair of two sets of corner boxes, `(n, m)`."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=-1)


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of each pair of two sets of corner boxes, `(n, m)`."""
    common = _intersections(first, second)
    union = _areas(first)[:, None] + _areas(second)[None] - common
    return common / np.maximum(union, 1e-9)


def lie_in_ignored(
    detections: np.ndarray, ignored: np.ndarray, least_share: float = 0.5
) -> np.ndarray:
    """Says which detections an ignored box covers for the most part.

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
    areas = np.maximum(_areas(detections), 1e-9)
    shares = _intersections(detections, ignored) / areas[:, None]
    return (shares >= least_share).any(axis=1)


def match_boxes(
    detections: np.ndarray, truth: np.ndarray, iou_threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Matches detections, by falling score, each to the best free true box.

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
    overlaps = _overlaps(detections, truth)
    for index in range(len(detections)):
        candidates = np.where(found, -1.0, overlaps[index])
        if len(candidates) and candidates.max() >= iou_threshold:
            right[index] = True
            found[candidates.argmax()] = True
    return right, found


def _read_rgb(path: Path) -> np.ndarray:
    # Not imread, which takes no file name that is not UTF-8.
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"cannot read the image {path}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _show_boxes(
    axes: Axes, boxes: np.ndarray, colour: str, style: str = "-", grow: float = 1.0
) -> None:
    # Boxes of a few pixels would be hidden by their own frame: draw it around them.
    for x1, y1, x2, y2 in boxes:
        axes.add_patch(
            Rectangle(
                (x1 - 0.5 - grow, y1 - 0.5 - grow),
                x2 - x1 + 2 * grow,
                y2 - y1 + 2 * grow,
                fill=False,
                edgecolor=colour,
                linewidth=1.3,
                linestyle=style,
            )
        )


def _show_scores(axes: Axes, sample: DetectionSample, colours: np.ndarray) -> None:
    for (x1, y1, _, _), score, colour in zip(
        sample.detections, sample.scores, colours.tolist(), strict=True
    ):
        axes.text(
            x1 - 1.5,
            y1 - 2.5,
            f"{score:.2f}",
            fontsize=6.5,
            color="white",
            verticalalignment="bottom",
            bbox={
                "facecolor": colour,
                "edgecolor": "none",
                "alpha": 0.65,
                "pad": 0.6,
            },
        )


def _show_sample(
    left: Axes, right: Axes, sample: DetectionSample, score_threshold: float
) -> None:
    image = _read_rgb(sample.image_path)
    hits, found = match_boxes(sample.detections, sample.truth)
    # As in TinyPerson's evaluation: only what matches nobody is looked for there.
    neither = ~hits & lie_in_ignored(sample.detections, sample.ignored)
    false = ~hits & ~neither
    for axes in (left, right):
        axes.imshow(image)
        axes.set_axis_off()
        _show_boxes(axes, sample.ignored, IGNORED_COLOUR, style=":")
    _show_boxes(left, sample.truth, TRUTH_COLOUR)
    left.set_title(f"{sample.image_path.name}: {len(sample.truth)} people", fontsize=11)
    _show_boxes(right, sample.detections[hits], FOUND_COLOUR)
    _show_boxes(right, sample.detections[neither], IGNORED_COLOUR)
    _show_boxes(right, sample.detections[false], FALSE_COLOUR)
    _show_boxes(right, sample.truth[~found], TRUTH_COLOUR, style="--")
    colours = np.select([hits, neither], [FOUND_COLOUR, "#667788"], FALSE_COLOUR)
    _show_scores(right, sample, colours)
    right.set_title(
        f"score ≥ {score_threshold:g}: {hits.sum()} found, {false.sum()} false, "
        f"{(~found).sum()} missed",
        fontsize=11,
    )


def draw_samples(
    samples: Sequence[DetectionSample],
    path: str | Path,
    score_threshold: float = 0.3,
    title: str = "Ground truth (left) and detections (right)",
) -> None:
    """Writes one picture: per image the ground truth and, beside it, the detections.

    A detection is right if it has an IoU of at least 0.5 with a person who has no
    better-scored detection. Ignored boxes are dotted, and detections that lie in them
    neither right nor false.

    Args:
        samples: The images, one row each.
        path: Picture file to write; its ending decides the format.
        score_threshold: Threshold that the detections were read with, for the titles.
        title: Title of the whole picture.

    Raises:
        ValueError: There are no samples.
        FileNotFoundError: An image cannot be read.
    """
    if not samples:
        raise ValueError("samples must hold at least one image, got none")
    shapes = [_read_rgb(sample.image_path).shape for sample in samples]
    row_height = 6.0 * max(height / width for height, width, _ in shapes) + 0.35
    figure = Figure(
        figsize=(12.4, row_height * len(samples) + 0.9), layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(samples), 2, squeeze=False)
    for (left, right), sample in zip(grid, samples, strict=True):
        _show_sample(left, right, sample, score_threshold)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.legend(
        handles=[
            Line2D([], [], color=TRUTH_COLOUR, label="person"),
            Line2D([], [], color=FOUND_COLOUR, label="detection, right"),
            Line2D([], [], color=FALSE_COLOUR, label="detection, false"),
            Line2D([], [], color=TRUTH_COLOUR, linestyle="--", label="person, missed"),
            Line2D([], [], color=IGNORED_COLOUR, linestyle=":", label="ignored"),
        ],
        loc="outside lower center",
        ncols=5,
        facecolor="#667788",
        labelcolor="white",
    )
    save_figure(figure, path, dpi=110)
