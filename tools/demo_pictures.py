"""The demo's pictures: losses, and detections beside the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.lines import Line2D
from torchvision.ops import box_convert, box_iou

from fpn_necks.coco_files import annotations_by_image, is_ignored
from fpn_necks.io import save_figure
from fpn_necks.visualization.boxes import show_frames
from fpn_necks.visualization.figures import DPI, new_figure
from fpn_necks.visualization.fusion_factors import read_scalars

TRUTH, FOUND, FALSE, IGNORED = "#ffd92f", "#33dd55", "#ff3344", "#c8d0d8"


def draw_losses(work_dir: Path, picture: Path) -> None:
    """Draws the losses of the newest training in a work dir."""
    # mmengine names the folder of a run after its start.
    scalars = max(work_dir.glob("*/vis_data/scalars.json"))
    figure, grid = new_figure("Training losses", (1, 1), (6.5, 3.9))
    axes = grid[0, 0]
    for name, (steps, values) in read_scalars(scalars, "loss").items():
        width, marker = 2.2 if name == "loss" else 1.4, "o" if len(steps) < 3 else None
        axes.plot(steps, values, label=name, linewidth=width, marker=marker)
    axes.set(xlabel="iteration", ylabel="loss")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, picture, dpi=DPI)


def draw_detections(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    images: Path,
    pictures: Sequence[Path],
    threshold: float,
) -> None:
    """Draws detections beside the ground truth, two images a picture.

    The images are spread evenly over the set. A detection is right if it has an IoU of
    at least 0.5 with a person who has no better-scored detection. Ignored boxes are
    dotted, and detections that lie in them are neither right nor false.

    Args:
        truth: COCO annotations.
        results: COCO results.
        images: folder of the images.
        pictures: files to write; of a small set fewer.
        threshold: detections of a lower score are left out.
    """
    kept = [x for x in results if x["score"] >= threshold]
    kept.sort(key=lambda x: -x["score"])
    found = annotations_by_image(dict(annotations=kept))
    boxes = annotations_by_image(truth)
    count = min(2 * len(pictures), len(truth["images"]))
    places = np.linspace(0, len(truth["images"]) - 1, count).round().astype(int)
    for picture, first in zip(pictures, range(0, count, 2), strict=False):
        chosen = [truth["images"][i] for i in places[first : first + 2]]
        shape = chosen[0]["height"] / chosen[0]["width"]
        figure, grid = new_figure(
            "RetinaNet with S-α FPN on held-out images, tile by tile: ground truth "
            "(left), detections (right)",
            (len(chosen), 2),
            (6.0, 6.0 * shape + 0.35),
            margins=(0.4, 0.6),
        )
        for (left, right), image in zip(grid, chosen, strict=True):
            people = boxes.get(image["id"], [])
            ignored = _corners([x for x in people if is_ignored(x)])
            people = _corners([x for x in people if not is_ignored(x)])
            detections = found.get(image["id"], [])
            pixels = cv2.imread(str(images / image["file_name"]))[..., ::-1]
            for axes in (left, right):
                axes.imshow(pixels)
                axes.set_axis_off()
                show_frames(axes, ignored, IGNORED, style=":")
            show_frames(left, people, TRUTH)
            left.set_title(f"{image['file_name']}: {len(people)} people", fontsize=11)
            shown, missed = sort_out(_corners(detections), people, ignored)
            scores = np.array([x["score"] for x in detections])
            for colour, rows in shown.items():
                frames = _corners(detections)[rows]
                show_frames(right, frames, colour, scores=scores[rows])
            show_frames(right, people[missed], TRUTH, style="--")
            counts = f"{shown[FOUND].sum()} found, {shown[FALSE].sum()} false"
            title = f"score ≥ {threshold:g}: {counts}, {missed.sum()} missed"
            right.set_title(title, fontsize=11)
        figure.legend(
            handles=[
                Line2D([], [], color=colour, label=label, linestyle=style)
                for colour, label, style in (
                    (TRUTH, "person", "-"),
                    (FOUND, "detection, right", "-"),
                    (FALSE, "detection, false", "-"),
                    (TRUTH, "person, missed", "--"),
                    (IGNORED, "ignored", ":"),
                )
            ],
            loc="outside lower center",
            ncols=5,
            facecolor="#667788",
            labelcolor="white",
        )
        save_figure(figure, picture, dpi=DPI)


def sort_out(
    detections: np.ndarray, people: np.ndarray, ignored: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Tells which detections are right, neither and false, and who is missed.

    Args:
        detections: ``(m, 4)`` x1, y1, x2, y2, by falling score.
        people: ``(n, 4)``.
        ignored: ``(k, 4)``; a detection lies in one if half of its area does.

    Returns:
        By colour ``(m,)`` bool, and ``(n,)`` bool.
    """
    right, missed = np.zeros(len(detections), bool), np.ones(len(people), bool)
    overlaps = box_iou(*map(torch.from_numpy, (detections, people))).numpy()
    for i, row in enumerate(overlaps):
        free = np.where(missed, row, 0.0)
        if free.max(initial=0) >= 0.5:
            right[i], missed[free.argmax()] = True, False
    # As in TinyPerson's evaluation: only what matches nobody is looked for there.
    low = np.maximum(detections[:, None, :2], ignored[None, :, :2])
    high = np.minimum(detections[:, None, 2:], ignored[None, :, 2:])
    common = (high - low).clip(0).prod(-1)
    areas = (detections[:, 2:] - detections[:, :2]).prod(-1)
    inside = ((common > 0) & (common >= 0.5 * areas[:, None])).any(1) & ~right
    return {FOUND: right, IGNORED: inside, FALSE: ~right & ~inside}, missed


def _corners(entries: Sequence[Mapping[str, Any]]) -> np.ndarray:
    boxes = torch.tensor([x["bbox"] for x in entries], dtype=torch.float64)
    return box_convert(boxes.reshape(-1, 4), "xywh", "xyxy").numpy()
