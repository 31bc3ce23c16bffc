"""TinyPerson's evaluation as a metric of mmdet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..coco_files import (
    category_labels,
    check_coco,
    read_coco,
)
from ..datasets.tiny_person import TileSettings, tile_coco
from ..io import write_json
from .boxes import Detections
from .options import EvaluationOptions
from .report import paper_table
from .tiny_person import evaluate_detections

_FIELDS = ("bboxes", "scores", "labels")


@METRICS.register_module()
class TinyPersonMetric(BaseMetric):
    """Average precision and miss rate of TinyPerson, for any detector of mmdet.

    Evaluated are the classes of the dataset that is tested on: boxes of other
    categories of the file need not be found, and detections with a label beyond the
    classes are left out. As in ``TinyPersonDataset`` the class
    ``person`` takes in ``sea_person`` and ``earth_person`` unless they are classes too.
    The annotations are read when the metric is built and the classes compared when the
    loop is, so that a wrong file stops a run before it starts.

    Args:
        ann_file: COCO annotations of the whole images.
        tiles: the tiles that are tested on: the same settings as the ``tiles`` of
            ``TinyPersonDataset``, or COCO annotations whose images carry ``corner``;
            ``None``: the images of ``ann_file`` are tested on.
        format_only: write the detections and evaluate nothing.
        outfile_prefix: the detections are written to ``{outfile_prefix}.bbox.json`` in
            COCO's results format, as the detector gave them (on tiles if there are
            tiles), before they are evaluated.
        backend_args: arguments of mmengine's file backend that reads the annotations.
        collect_device: ``'cpu'`` or ``'gpu'``, how processes exchange results.
        prefix: of the names of the results, by default ``'tiny_person'``.
        **options: see ``EvaluationOptions``; ``merge_categories`` evaluates the classes
            of the dataset as one.

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
        backend_args: Mapping[str, Any] | None = None,
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
        self.annotations = read_coco(ann_file, backend_args, sized=False)
        self._cuts = isinstance(tiles, Mapping)
        self.tiles = None
        if self._cuts:
            # The dataset numbers its tiles in the same way.
            settings = TileSettings.from_config(tiles)
            images = check_coco(
                dict(images=self.annotations["images"], categories=[]), str(ann_file)
            )
            self.tiles = tile_coco(images, settings)[0]
        elif tiles is not None:
            self.tiles = read_coco(tiles, backend_args, sized=False)
        # Without detections it is fast, and reads all that could be wrong.
        nothing = Detections.read([])
        evaluate_detections(self.annotations, nothing, self.tiles, self.options)
        tested = self.annotations if self.tiles is None else self.tiles
        self._corners = {image["id"]: image.get("corner") for image in tested["images"]}

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """The metainfo of the dataset that is tested on.

        Raises:
            ValueError: when it is set, if there are no classes, or one is not among the
                categories of the annotations.
        """
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict[str, Any]) -> None:
        classes = (meta or {}).get("classes")
        if not classes:
            raise ValueError("TinyPersonMetric needs dataset_meta with 'classes'")
        classes = [classes] if isinstance(classes, str) else list(classes)
        categories = self.annotations.get("categories", [])
        labels = category_labels(categories, classes)
        first = {label: category for category, label in reversed(labels.items())}
        missing = [name for i, name in enumerate(classes) if i not in first]
        if missing:
            raise ValueError(
                f"the dataset's classes {missing} are not among the categories of the "
                f"annotations, {[category.get('name') for category in categories]}"
            )
        self._category_ids = [first[label] for label in range(len(classes))]
        self._labels = labels
        self._dataset_meta = meta

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
            columns = (found[key].detach().cpu() for key in _FIELDS)
            # numpy has no bfloat16.
            columns = (c.float() if c.is_floating_point() else c for c in columns)
            self.results.append((sample["img_id"], *(c.numpy() for c in columns)))

    def compute_metrics(self, results: list[tuple[Any, ...]]) -> dict[str, float]:
        """Evaluate the detections of all images.

        Args:
            results: what ``process`` kept, of all processes.

        Returns:
            See ``evaluate_tiny_person``; nothing if ``format_only``.
        """
        logger = MMLogger.get_current_instance()
        table = self._table(results)
        if self.outfile_prefix is not None:
            path = Path(f"{self.outfile_prefix}.bbox.json")
            write_json(path, table.records())
            logger.info(f"detections written to {path}")
        if self.format_only:
            return {}
        # Labels and categories become the dataset's classes; the others are left out.
        annotations = [
            {**a, "category_id": self._labels.get(a["category_id"])}
            for a in self.annotations["annotations"]
        ]
        truth = {
            **self.annotations,
            "annotations": annotations,
            "categories": [dict(id=label) for label in range(len(self._category_ids))],
        }
        table = replace(table, category_ids=list(range(len(self._category_ids))))
        metrics = evaluate_detections(truth, table, self.tiles, self.options)
        logger.info(f"TinyPerson, {paper_table(metrics, self.options.released)}")
        return metrics

    def _table(self, results: list[tuple[Any, ...]]) -> Detections:
        ids = list(dict.fromkeys(result[0] for result in results))
        place = {identifier: i for i, identifier in enumerate(ids)}
        nothing = (None, np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64))
        _, boxes, scores, labels = zip(nothing, *results, strict=True)
        images = np.repeat(
            np.array([place[result[0]] for result in results], dtype=np.int64),
            [len(found) for found in scores[1:]],
        )
        boxes = np.concatenate(boxes).astype(np.float64)
        # Clipping can turn a box outside the image inside out by a rounding error.
        boxes[:, 2:] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        scores, labels = np.concatenate(scores), np.concatenate(labels)
        known = labels < len(self._category_ids)
        return Detections(
            ids,
            images[known],
            self._category_ids,
            labels[known],
            boxes[known],
            scores[known],
        )

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
