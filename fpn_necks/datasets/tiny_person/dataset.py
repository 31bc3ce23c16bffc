"""TinyPerson and sets of its kind, whole or in tiles, for mmdet."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from fpn_necks.coco_files import (
    IGNORED_FIELDS,
    MERGED_CLASS,
    annotations_by_image,
    category_labels,
    dense_files,
    is_ignored,
    read_coco,
    write_coco,
)
from fpn_necks.layers.arguments import check_list, check_number

from .cutting import tile_coco
from .loading import tile_address, use_tile_loaders
from .tiles import TileSettings


@DATASETS.register_module()
class TinyPersonDataset(CocoDataset):
    """COCO-format set that keeps ignored boxes and reads tiles.

    What differs from mmdet's ``CocoDataset``:

    - Boxes with ``ignore``, ``uncertain`` or ``logo`` are kept with ``ignore_flag`` 1.
      ``CocoDataset`` drops the first, which makes them background, and takes the
      others for people. An assigner heeds them where its ``ignore_iof_thr`` is set,
      which a warning recalls if the training set has any.
    - Boxes with a side under `min_box_size` become ignored; ``CocoDataset`` drops them.
    - The categories ``sea_person`` and ``earth_person`` count as ``person`` if that is
      a class and they are not.
    - Dense images are left out of training.
    - An image entry with ``corner`` is a tile. `tiles` cuts whole images so, without
      writing any. Each sample's ``img_id``, ``height``, ``width`` and ``ori_shape`` are
      the tile's; ``corner`` is in the metainfo of its data sample, whatever the
      pipeline's ``meta_keys``, and its ``img_path`` is the address of the tile, so
      that mmdet's ``--show-dir`` and ``browse_dataset`` draw tiles under names of their
      own. `LoadImageTile` is put around every ``LoadImageFromFile`` of `pipeline`.
    - Classes without a palette of their own get the visualizer's colours.
    - ``filter_empty_gt`` in `filter_cfg` leaves out images without a box to learn
      from: one with ignored boxes alone counts as empty.

    Args:
        *args: Those of ``CocoDataset``.
        tiles: Settings of the tiles, see `TileSettings`, or None for no cutting:
            ``dict(size=(640, 512), overlap=(50, 50), keep=0.7, cut_boxes="ignore")``.
            Needs annotations of whole images.
        drop_dense: Whether to leave out dense images (``in_dense_image`` on an image
            or one of its boxes); None: in training only (``test_mode=False``).
        ignored_fields: Fields of an annotation that make its box an ignored one.
        min_box_size: Boxes with a side below it, in pixels, become ignored ones.
        **kwargs: Those of ``CocoDataset``.

    Raises:
        FileNotFoundError: The annotation file is missing.
        ValueError: The annotation file is inconsistent, no category fits the classes,
            filtering leaves no image, or an argument is out of range.
        TypeError: `tiles` is no dict or has unknown keys.
    """

    METAINFO = {"classes": (MERGED_CLASS,), "palette": [(220, 20, 60)]}  # noqa: RUF012

    def __init__(
        self,
        *args: Any,
        tiles: Mapping[str, Any] | None = None,
        drop_dense: bool | None = None,
        ignored_fields: Sequence[str] = IGNORED_FIELDS,
        min_box_size: float = 1.0,
        **kwargs: Any,
    ) -> None:
        check_number("min_box_size", min_box_size)
        self.tiles = None if tiles is None else TileSettings.from_config(tiles)
        self.drop_dense = drop_dense
        self.ignored_fields = check_list("ignored_fields", ignored_fields)
        self.min_box_size = min_box_size
        super().__init__(*args, **kwargs)

    @property
    def pipeline(self) -> Any:
        """The transforms; one that is set gets loaders that know tiles.

        A property, because hooks exchange the pipeline in the middle of a training.
        """
        return self._pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        use_tile_loaders(pipeline)
        self._pipeline = pipeline

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping[str, Any] | None = None) -> dict:
        loaded = super()._load_metainfo(metainfo)
        if len(loaded.get("palette", [])) < len(loaded["classes"]):
            loaded.pop("palette", None)
        return loaded

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the annotation file, cut it if asked to, and parse every image."""
        coco = self._read_annotations()
        self._set_categories(coco)
        annotations = annotations_by_image(coco)
        drop_dense = not self.test_mode if self.drop_dense is None else self.drop_dense
        left_out = dense_files(coco) if drop_dense else set()
        infos = []
        for image in coco["images"]:
            if image["file_name"] not in left_out:
                raw = {"raw_img_info": image | {"img_id": image["id"]}}
                raw["raw_ann_info"] = annotations.get(image["id"], [])
                infos.append(self.parse_data_info(raw))
        flags = [i["ignore_flag"] for info in infos for i in info["instances"]]
        if any(flags) and not self.test_mode:
            print_log(
                f"{sum(flags):,} of {len(flags):,} boxes of {self.ann_file} are "
                "ignored ones. Assigners heed them only where ignore_iof_thr is set "
                "(0.5 for example; -1, mmdet's default, makes them background)",
                "current",
                logging.WARNING,
            )
        return infos

    def _read_annotations(self) -> dict[str, Any]:
        coco = read_coco(self.ann_file, self.backend_args)
        if self.tiles is None:
            return coco
        try:
            return tile_coco(coco, self.tiles)[0]
        except ValueError as error:
            raise ValueError(f"{self.ann_file} with tiles=...: {error}") from error

    def _set_categories(self, coco: Mapping[str, Any]) -> None:
        classes = self.metainfo["classes"]
        self.cat2label = category_labels(coco["categories"], classes)
        if not self.cat2label:
            names = [category.get("name") for category in coco["categories"]]
            raise ValueError(
                f"{self.ann_file} has the categories {names}, of which none is among "
                f"metainfo['classes'] {tuple(classes)}"
            )
        self.cat_ids = list(self.cat2label)
        self.cat_img_map = defaultdict(list)
        for annotation in coco["annotations"]:
            self.cat_img_map[annotation["category_id"]].append(annotation["image_id"])

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any]:
        """Turn an image entry and its annotations into mmdet's format."""
        image = raw_data_info["raw_img_info"]
        # CocoDataset's own parsing gives paths, sizes and texts.
        info = super().parse_data_info({"raw_img_info": image, "raw_ann_info": []})
        if "corner" in image:
            info["corner"] = image["corner"]
        info["instances"] = []
        for annotation in raw_data_info["raw_ann_info"]:
            if annotation["category_id"] not in self.cat2label:
                continue
            instance = self._instance(annotation)
            x1, y1, x2, y2 = instance["bbox"]
            width = min(x2, image["width"]) - max(x1, 0)
            height = min(y2, image["height"]) - max(y1, 0)
            if width > 0 and height > 0:
                info["instances"].append(instance)
        return info

    def _instance(self, annotation: Mapping[str, Any]) -> dict[str, Any]:
        x, y, width, height = annotation["bbox"]
        ignored = is_ignored(annotation, self.ignored_fields)
        instance = {
            "bbox": [x, y, x + width, y + height],
            "bbox_label": self.cat2label[annotation["category_id"]],
            "ignore_flag": int(ignored or min(width, height) < self.min_box_size),
        }
        if annotation.get("segmentation"):
            instance["mask"] = annotation["segmentation"]
        return instance

    def filter_data(self) -> list[dict[str, Any]]:
        """Leave out images as `filter_cfg` says; never in testing.

        Raises:
            ValueError: No image is left.
        """
        kept = self.data_list
        if not self.test_mode and self.filter_cfg is not None:
            drop_empty = self.filter_cfg.get("filter_empty_gt", False)
            min_size = self.filter_cfg.get("min_size", 0)
            kept = [
                info
                for info in kept
                if min(info["width"], info["height"]) >= min_size
                and not (
                    drop_empty and all(i["ignore_flag"] for i in info["instances"])
                )
            ]
        if not kept:
            raise ValueError(
                f"no image of {self.ann_file} is left of {len(self.data_list)} (dense "
                f"ones aside) with filter_cfg={self.filter_cfg}, tiles={self.tiles}"
            )
        return kept

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline; corner and address of a tile go into the data sample.

        Raises:
            ValueError: The pipeline loaded something else than the tile.
        """
        info = self.get_data_info(idx)
        corner, size = info.get("corner"), (info["height"], info["width"])
        path = info["img_path"]
        data = self.pipeline(info)
        if corner is None or data is None:
            return data
        samples = data.get("data_samples", data)
        if samples is not data and isinstance(samples, dict):  # those of MultiBranch
            samples = list(samples.values())
        for sample in samples if isinstance(samples, list) else [samples]:
            if sample is None:
                continue
            found = sample.get("ori_shape", size)
            if tuple(found[:2]) != size:
                raise ValueError(
                    f"the pipeline gave {found[1]}x{found[0]} pixels for the tile "
                    f"{corner} of {path}: its loader does not cut tiles. Load images "
                    "with LoadImageFromFile, a subclass of it, or LoadImageTile"
                )
            if sample is not data:
                sample.set_metainfo({"corner": corner})
                if "img_path" in sample:
                    sample.set_metainfo({"img_path": tile_address(path, corner)})
        return data

    def save_tiles(
        self, path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> None:
        """Write the annotations of this set's tiles, with its image ids, as COCO json.

        For evaluations that merge tiles, and to look at what was cut.

        Raises:
            ValueError: The set has no tiles.
            FileExistsError: The file is there and `overwrite` is false.
        """
        coco = self._read_annotations()
        ids = {self.get_data_info(index)["img_id"] for index in range(len(self))}
        coco["images"] = [image for image in coco["images"] if image["id"] in ids]
        if not all("corner" in image for image in coco["images"]):
            raise ValueError(f"{self.ann_file} holds whole images and tiles is None")
        coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in ids]
        write_coco(path, coco, overwrite=overwrite)
