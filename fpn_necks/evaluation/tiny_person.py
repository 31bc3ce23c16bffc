"""Average precision and miss rate of TinyPerson, from files or from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .annotations import rank_detections, read_detections, read_ground_truth
from .average_precision import average_precision
from .json_fields import Source, load_json
from .merge_tiles import merge_table
from .miss_rate import miss_rate
from .options import EvaluationOptions
from .overlaps import find_pairs


def evaluate_tiny_person(
    ground_truth: Source,
    detections: Source,
    tiles: Source | None = None,
    **options: Any,
) -> dict[str, float]:
    """Evaluate detections as the TinyPerson benchmark does.

    The rules are written down in ``docs/tiny_person_evaluation.md``.

    Args:
        ground_truth: COCO annotations of whole images, or the path of the json file.
            The fields ``ignore``, ``uncertain`` and ``iscrowd`` may be missing.
        detections: COCO results, or the path: of whole images, or of tiles if ``tiles``
            is given.
        tiles: COCO annotations whose images carry ``corner``, or the path. Detections
            are shifted to whole images and merged before they are evaluated.
        **options: see ``EvaluationOptions``: ``metrics=('ap', 'mr')``,
            ``released=True``, ``ignore_uncertain=True``, ``use_iod_for_ignore=True``,
            ``use_ignore_attr=True``, IoU thresholds, size ranges, detection limits and
            merging.

    Returns:
        ``'AP50_tiny'``, ``'MR50_tiny'`` and so on: fractions in [0, 1], or -1 where a
        bucket has no box to be found.

    Raises:
        FileNotFoundError: a file is missing.
        TypeError: an option does not exist or has the wrong type.
        ValueError: an option or the content of a file is wrong.
    """
    chosen = EvaluationOptions(**options)
    annotations = load_json(ground_truth, "ground truth")
    truth = read_ground_truth(
        annotations, chosen.merge_categories, chosen.leave_out_dense
    )
    table = read_detections(load_json(detections, "detections"))
    if tiles is not None:
        table = merge_table(
            table,
            load_json(tiles, "tiles"),
            annotations["images"],
            chosen.merge_nms,
            chosen.merge_per_class,
            truth.left_out,
        )
    ranked = rank_detections(table, truth, chosen.merge_categories)
    ranked = ranked.first(max(chosen.ap_max_detections, chosen.mr_max_detections))
    pairs = find_pairs(ranked.boxes, ranked.groups, truth.boxes, truth.groups)
    result: dict[str, float] = {}
    for metric in chosen.metrics:
        compute = average_precision if metric == "ap" else miss_rate
        settings = chosen.settings(metric)
        values = compute(truth, ranked, pairs, settings).values
        result |= {
            f"{metric.upper()}{100 * threshold:g}_{bucket}": float(values[t, b])
            for t, threshold in enumerate(settings.iou_thresholds)
            for b, bucket in enumerate(settings.ranges)
        }
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
