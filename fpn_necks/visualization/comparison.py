"""Detections beside the ground truth, from COCO json files; no model is needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.lines import Line2D
from torchvision.ops import box_iou

from fpn_necks.coco_files import annotations_by_image, is_ignored, read_coco, read_json
from fpn_necks.detectors import read_image
from fpn_necks.io import save_figure
from fpn_necks.layers.arguments import check_int

from .boxes import show_frames, to_8_bits
from .figures import DPI, new_figure

TRUTH_COLOUR = "#ffd92f"
FOUND_COLOUR = "#33dd55"
FALSE_COLOUR = "#ff3344"
IGNORED_COLOUR = "#c8d0d8"


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


def load_samples(
    annotation_file: str | Path,
    results_file: str | Path,
    image_dir: str | Path,
    count: int,
    score_threshold: float = 0.3,
) -> list[DetectionSample]:
    """Read images spread evenly over a set, with truth and detections.

    Args:
        annotation_file: COCO json of the set; crowds and boxes with a field that
            TinyPerson's evaluation ignores are the samples' ignored ones.
        results_file: COCO results json: image_id, bbox (x, y, width, height), score.
        image_dir: Folder that the file names of the set start from.
        count: Number of images; fewer if the set is smaller.
        score_threshold: Detections below this score are left out.

    Raises:
        ValueError: `count` is below 1, a file is not what it should be, or a file name
            leads out of `image_dir`.
    """
    check_int("count", count)
    found: dict[int, list] = defaultdict(list)
    for result in sorted(read_json(results_file), key=lambda r: -r["score"]):
        if result["score"] >= score_threshold:
            found[result["image_id"]].append(result)
    coco = read_coco(annotation_file, sized=False)
    annotations = annotations_by_image(coco)
    number = len(coco["images"])
    samples = []
    for index in np.linspace(0, number - 1, min(count, number)).round().astype(int):
        image = coco["images"][index]
        of_image = annotations.get(image["id"], [])
        detections = found[image["id"]]
        samples.append(
            DetectionSample(
                image_path=Path(image_dir) / image["file_name"],
                truth=_corners([x for x in of_image if not is_ignored(x)]),
                detections=_corners(detections),
                scores=np.array([x["score"] for x in detections], dtype=float),
                ignored=_corners([x for x in of_image if is_ignored(x)]),
            )
        )
    return samples


def _corners(entries: Sequence[dict]) -> np.ndarray:
    """Return the boxes of COCO entries as `(n, 4)` x1, y1, x2, y2."""
    boxes = np.array([x["bbox"] for x in entries], dtype=float).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


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
        kinds = (hits, FOUND_COLOUR), (neither, IGNORED_COLOUR), (false, FALSE_COLOUR)
        for chosen, colour in kinds:
            scores = x.scores[chosen]
            show_frames(right, x.detections[chosen], colour, scores=scores)
        show_frames(right, x.truth[~found], TRUTH_COLOUR, style="--")
        counts = f"{hits.sum()} found, {false.sum()} false, {(~found).sum()} missed"
        right.set_title(f"score ≥ {score_threshold:g}: {counts}", fontsize=11)
    handles = [
        Line2D([], [], color=colour, label=label, linestyle=style)
        for colour, label, style in (
            (TRUTH_COLOUR, "person", "-"),
            (FOUND_COLOUR, "detection, right", "-"),
            (FALSE_COLOUR, "detection, false", "-"),
            (TRUTH_COLOUR, "person, missed", "--"),
            (IGNORED_COLOUR, "ignored", ":"),
        )
    ]
    style = dict(ncols=5, facecolor="#667788", labelcolor="white")
    figure.legend(handles=handles, loc="outside lower center", **style)
    save_figure(figure, path, dpi=DPI)


def match_boxes(
    detections: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match detections, by falling score, each to the best free true box of IoU ≥ 0.5.

    Returns:
        `(m,)` bool, which detections are right, and `(n,)` bool, which true boxes
        were found.
    """
    right = np.zeros(len(detections), dtype=bool)
    found = np.zeros(len(truth), dtype=bool)
    overlaps = box_iou(*map(torch.from_numpy, (detections, truth))).numpy()
    for index in range(len(detections)):
        candidates = np.where(found, -1.0, overlaps[index])
        if len(candidates) and candidates.max() >= 0.5:
            right[index] = True
            found[candidates.argmax()] = True
    return right, found


def lie_in_ignored(detections: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Say which detections lie in one ignored box with half of their area or more."""
    low = np.maximum(detections[:, None, :2], ignored[None, :, :2])
    high = np.minimum(detections[:, None, 2:], ignored[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = np.prod(detections[:, 2:] - detections[:, :2], axis=-1)
    return (common >= 0.5 * np.maximum(areas, 1e-9)[:, None]).any(axis=1)
