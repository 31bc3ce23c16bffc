"""Average precision and miss rate of TinyPerson, from files or from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..coco_files import checked_coco
from . import average_precision as ap
from . import miss_rate as mr
from .boxes import Detections, GroundTruth, RankedDetections
from .matching import UNRANKED, blocks, find_pairs
from .merge_tiles import merge_detections
from .options import EvaluationOptions

Record = Mapping[str, Any]
_METRICS = {"ap": (ap, ap.average_precision), "mr": (mr, mr.miss_rate)}


def evaluate_tiny_person(
    ground_truth: Record | str | Path,
    detections: Sequence[Record] | str | Path,
    tiles: Record | str | Path | None = None,
    **options: Any,
) -> dict[str, float]:
    """Evaluate detections as the TinyPerson benchmark does.

    The rules are written down in ``docs/tiny_person.md``.

    Args:
        ground_truth: COCO annotations of whole images, or the path of the json file.
        detections: COCO results, or the path: of whole images, or of tiles if ``tiles``
            is given.
        tiles: COCO annotations whose images carry ``corner``, or the path. Detections
            are shifted to whole images and merged before they are evaluated.
        **options: see ``EvaluationOptions``.

    Returns:
        ``'AP50_tiny'``, ``'MR50_tiny'`` and so on: fractions in [0, 1], or -1 where a
        bucket has no box to be found.

    Raises:
        FileNotFoundError: a file is missing.
        TypeError: an option does not exist or has the wrong type.
        ValueError: an option or the content of a file is wrong.
    """
    chosen = EvaluationOptions(**options)
    truth = checked_coco(ground_truth, "the ground truth")
    if tiles is not None:
        tiles = checked_coco(tiles, "the tile file")
    return evaluate_detections(truth, Detections.read(detections), tiles, chosen)


def evaluate_detections(
    annotations: Record,
    table: Detections,
    tiles: Record | None,
    options: EvaluationOptions,
) -> dict[str, float]:
    """Evaluate arrays of detections on annotations that ``check_coco`` has seen."""
    truth = GroundTruth.of(
        annotations, options.merge_categories, options.leave_out_dense
    )
    if tiles is not None:
        table = merge_detections(
            table,
            tiles,
            annotations["images"],
            options.merge_nms,
            options.merge_per_class,
            truth.left_out,
        )
    limit = max(getattr(options, f"{m}_max_detections") for m in options.metrics)
    ranked = RankedDetections.of(table, truth, options.merge_categories, limit)
    counts = {
        metric: np.full((len(options.thresholds(metric)), len(ranked.scores)), UNRANKED)
        for metric in options.metrics
    }
    for rows, columns in blocks(ranked, truth):
        some, boxes = ranked[rows], truth[columns]
        pairs = find_pairs(some, boxes)
        for metric, array in counts.items():
            match_boxes = _METRICS[metric][0].match_boxes
            array[:, rows] = match_boxes(boxes, some, pairs, options)[0]
    num_images, num_thresholds = len(truth.image_ids), len(options.iou_thresholds)
    result: dict[str, float] = {}
    for metric in options.metrics:
        rules, compute = _METRICS[metric]
        found = np.full((len(truth.category_ids), len(counts[metric])), -1.0)
        for k, values in enumerate(found):
            ends = k * num_images, (k + 1) * num_images
            boxes = truth[slice(*np.searchsorted(truth.groups, ends))]
            own = slice(*np.searchsorted(ranked.groups, ends))
            by_score = np.argsort(-ranked.scores[own], kind="stable") + own.start
            positives = (~rules.ignored_boxes(boxes, options)).sum(0)
            for s, row in enumerate(counts[metric]):
                if number := int(positives[s // num_thresholds]):
                    values[s] = compute(row[by_score], number, num_images, options)
        known = found >= 0
        means = np.where(known, found, 0).sum(0) / np.maximum(known.sum(0), 1)
        means[~known.any(0)] = -1.0
        names = (
            f"{metric.upper()}{100 * threshold:g}_{bucket}"
            for bucket in options.ranges(metric)
            for threshold in options.iou_thresholds
        )
        result |= zip(names, means.tolist(), strict=True)
    return result


def average_over_thresholds(results: Mapping[str, float]) -> dict[str, float]:
    """Average results over the IoU thresholds: ``'AP_tiny'`` from ``'AP50_tiny'``...

    AI-TOD and COCO report this mean over 0.5, 0.55, ..., 0.95. A bucket without boxes
    stays -1.
    """
    values: dict[str, list[float]] = {}
    for name, value in results.items():
        metric, _, bucket = name.partition("_")
        values.setdefault(f"{metric[:2]}_{bucket}", []).append(value)
    return {name: float(np.mean(several)) for name, several in values.items()}
