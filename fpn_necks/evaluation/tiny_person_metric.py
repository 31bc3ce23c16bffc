"""TinyPerson's evaluation as a metric of mmdet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..datasets.tiny_person import TileSettings, check_coco, tile_coco
from ..io import write_json
from .json_fields import column, load_json
from .options import EvaluationOptions
from .report import paper_table, rules_in_words
from .tiny_person import evaluate_tiny_person


@METRICS.register_module()
class TinyPersonMetric(BaseMetric):
    """Average precision and miss rate of TinyPerson, for any detector of mmdet.

    The annotations are read and checked when the metric is built, so that a wrong file
    stops a run before it starts.

    Args:
        ann_file: COCO annotations of the whole images.
        tiles: the tiles that are tested on: the same settings as the ``tiles`` of
            ``TinyPersonDataset``, or COCO annotations whose images carry ``corner``;
            ``None``: the images of ``ann_file`` are tested on.
        format_only: write the detections and evaluate nothing.
        outfile_prefix: the detections are written to ``{outfile_prefix}.bbox.json`` in
            COCO's results format, as the detector gave them (on tiles if there are
            tiles).
        collect_device: ``'cpu'`` or ``'gpu'``, how processes exchange results.
        prefix: of the names of the results, by default ``'tiny_person'``.
        **options: see ``EvaluationOptions``.

    Raises:
        FileNotFoundError: an annotation file is missing.
        TypeError: an option or a setting of tiles does not exist or has the wrong type.
        ValueError: an option, a setting of tiles or an annotation is wrong.

    Example:
        >>> val_evaluator = dict(
        ...     type="TinyPersonMetric",
        ...     ann_file="data/tiny_set/mini_annotations/tiny_set_test_all.json",
        ...     tiles=dict(size=(640, 512), overlap=(50, 50)),
        ... )
    """

    default_prefix = "tiny_person"

    def __init__(
        self,
        ann_file: str | Path,
        tiles: Mapping[str, Any] | str | Path | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if format_only and outfile_prefix is None:
            raise ValueError("format_only=True needs an outfile_prefix to write to")
        self.options = EvaluationOptions(**options)
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.annotations = load_json(ann_file, "ground truth")
        self._cuts = isinstance(tiles, Mapping)
        of_file = tiles is not None and not self._cuts
        self.tiles = load_json(tiles, "tiles") if of_file else None
        # Without detections it is fast, and reads all that could be wrong.
        evaluate_tiny_person(self.annotations, [], self.tiles, **vars(self.options))
        if self._cuts:
            # The dataset numbers its tiles in the same way.
            whole = dict(self.annotations, annotations=[], categories=[])
            checked = check_coco(whole, str(ann_file))
            self.tiles = tile_coco(checked, TileSettings.from_config(tiles))[0]
        tested = self.annotations if self.tiles is None else self.tiles
        self._corners = {image["id"]: image.get("corner") for image in tested["images"]}

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the detections of a batch.

        Args:
            data_batch: not used.
            data_samples: with ``img_id`` and ``pred_instances``: ``bboxes`` ``(n, 4)``
                (x1, y1, x2, y2) in pixels of the image, ``scores`` and ``labels``.
                ``corner``, if it is there, must be that of the tile.

        Raises:
            ValueError: a sample is not the tile that the metric takes it for.
        """
        for sample in data_samples:
            self._check_corner(sample)
            found = sample["pred_instances"]
            corners = found["bboxes"].detach().cpu().double().numpy().reshape(-1, 4)
            # Clipping can turn a box outside the image inside out by a rounding error.
            sides = np.maximum(corners[:, 2:] - corners[:, :2], 0)
            self.results.append(
                dict(
                    image_id=sample["img_id"],
                    boxes=np.concatenate([corners[:, :2], sides], 1).tolist(),
                    scores=found["scores"].detach().cpu().double().tolist(),
                    labels=found["labels"].detach().cpu().tolist(),
                )
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Evaluate the detections of all images.

        Args:
            results: what ``process`` kept, of all processes.

        Returns:
            See ``evaluate_tiny_person``; nothing if ``format_only``.

        Raises:
            ValueError: the dataset's classes are not the categories of the annotations.
        """
        category_ids, merged = self._category_ids()
        detections = [
            dict(
                image_id=result["image_id"],
                category_id=category_ids[label],
                bbox=box,
                score=score,
            )
            for result in results
            for box, score, label in zip(
                result["boxes"], result["scores"], result["labels"], strict=True
            )
        ]
        logger = MMLogger.get_current_instance()
        if self.outfile_prefix is not None:
            path = Path(f"{self.outfile_prefix}.bbox.json")
            write_json(path, detections)
            logger.info(f"detections written to {path}")
        if self.format_only:
            return {}
        options = {**vars(self.options), "merge_categories": merged}
        metrics = evaluate_tiny_person(
            self.annotations, detections, self.tiles, **options
        )
        rules = rules_in_words(self.options.rules)
        logger.info(f"TinyPerson, {rules}\n{paper_table(metrics)}")
        return metrics

    def _check_corner(self, sample: Mapping[str, Any]) -> None:
        """Refuse samples that were cut in another way: their boxes would be misplaced.

        A loader of one's own need not tell the corner, unless the metric cuts itself.
        """
        corner = sample.get("corner")
        # An unknown id is named by the evaluation.
        expected = self._corners.get(sample["img_id"], corner)
        unsaid = corner is None and not self._cuts
        if corner != expected and not unsaid:
            raise ValueError(
                f"the dataset's image {sample['img_id']} has the corner {corner}, "
                f"TinyPersonMetric expects {expected}: give both the same tiles"
            )

    def _category_ids(self) -> tuple[list[Any], bool]:
        """Return the category of every label, and whether all categories are one."""
        if not self.dataset_meta or "classes" not in self.dataset_meta:
            raise ValueError("TinyPersonMetric needs dataset_meta with 'classes'")
        classes = self.dataset_meta["classes"]
        classes = [classes] if isinstance(classes, str) else list(classes)
        merged = self.options.merge_categories
        categories = self.annotations.get("categories", [])
        names = column(categories, "name", "category")
        ids = dict(zip(names, column(categories, "id", "category"), strict=True))
        if all(name in ids for name in classes):
            return [ids[name] for name in classes], merged
        if len(classes) == 1 and ids and all(n.endswith(classes[0]) for n in names):
            # TinyPerson's sea_person and earth_person are one class, person.
            return [next(iter(ids.values()))], True
        if merged and ids:
            return [next(iter(ids.values()))] * len(classes), True
        missing = [name for name in classes if name not in ids]
        raise ValueError(
            f"the dataset's classes {missing} are not among the categories of the "
            f"annotations, {names}"
        )
