"""TinyPersonDataset: what is ignored, what is left out, tiles, mmdet's machinery."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger

from fpn_necks.datasets import SyntheticTinyPerson
from fpn_necks.datasets.tiny_person import (
    TileSettings,
    TinyPersonDataset,
    read_coco,
    tile_coco,
)

from .conftest import small_coco, write

register_all_modules()
TILES = dict(size=(160, 128), overlap=(20, 20))
# Nothing here knows of tiles.
TRAINING = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
TESTING = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(320, 256), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "ori_shape", "scale_factor")),
]


def build(drawn: SyntheticTinyPerson, split: str = "train", **options):
    settings = dict(
        type="TinyPersonDataset",
        data_root=f"{drawn.root}/",
        ann_file=f"annotations/{split}.json",
        data_prefix=dict(img=f"{split}/"),
        pipeline=TRAINING if split == "train" else TESTING,
        test_mode=split != "train",
        serialize_data=False,  # it runs the garbage collector
    )
    return DATASETS.build(settings | options)


def of(coco: dict, folder: Path, **options) -> TinyPersonDataset:
    options |= dict(data_prefix=dict(img=""), serialize_data=False)
    return TinyPersonDataset(ann_file=str(write(folder / "a.json", coco)), **options)


def flags(dataset: TinyPersonDataset) -> dict[int, int]:
    """Ignore flags by the tens of x1, which tell the boxes of small_coco apart."""
    return {
        int(instance["bbox"][0] // 10 + 10 * (instance["bbox"][1] >= 40)): instance[
            "ignore_flag"
        ]
        for instance in dataset.get_data_info(0)["instances"]
    }


class TestBoxes:
    def test_ignored_kinds(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        logger = MMLogger.get_current_instance()
        logger.addHandler(caplog.handler)
        dataset = of(small_coco(), tmp_path)
        logger.removeHandler(caplog.handler)
        # By x: person, ignore, uncertain, logo, crowd, 0.6 px, at the border, other
        # category. The box without extent and the one outside are in no image.
        assert flags(dataset) == {1: 0, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 9: 0, 17: 0}
        assert caplog.text.count("5 of 8 boxes") == 1
        assert "ignore_iof_thr" in caplog.text
        first = dataset.get_data_info(0)["instances"][0]
        assert first["bbox"] == [10, 10, 18, 18] and first["bbox_label"] == 0
        assert dataset.get_cat_ids(0) == [0] * 8
        assert dataset.cat2label == {1: 0, 2: 0}
        chosen = dict(ignored_fields=("ignore",), min_box_size=0)
        found = flags(of(small_coco(), tmp_path, **chosen))
        assert found == {1: 0, 2: 1, 3: 0, 4: 0, 5: 1, 6: 0, 9: 0, 17: 0}


class TestCategories:
    def test_two_classes(self, tmp_path: Path) -> None:
        classes = ("earth_person", "sea_person")
        dataset = of(small_coco(), tmp_path, metainfo=dict(classes=classes))
        assert Counter(dataset.get_cat_ids(0)) == {1: 7, 0: 1}
        # The palette of one colour would stop the visualizer.
        assert "palette" not in dataset.metainfo
        assert len(of(small_coco(), tmp_path).metainfo["palette"]) == 1

    def test_categories_that_are_no_class(self, tmp_path: Path) -> None:
        coco = small_coco()
        coco["categories"][1]["name"] = "boat"
        assert 17 not in flags(of(coco, tmp_path))
        # Category 2 is in no list: its box is left out, as CocoDataset does.
        coco = small_coco() | dict(categories=[dict(id=1, name="person")])
        assert of(coco, tmp_path).get_cat_ids(0) == [0] * 7

    def test_no_category_fits(self, tmp_path: Path) -> None:
        coco = small_coco() | dict(categories=[dict(id=1, name="boat")])
        with pytest.raises(ValueError, match=r"\['boat'\], of which none .*'person'"):
            of(coco, tmp_path)


class TestDense:
    def test_left_out_of_training_alone(self, drawn: SyntheticTinyPerson) -> None:
        dense, images = drawn.train.dense_images, drawn.train.images
        assert len(build(drawn)) == images - dense
        assert len(build(drawn, test_mode=True)) == images
        assert len(build(drawn, drop_dense=False)) == images
        assert len(build(drawn, test_mode=True, drop_dense=True)) == images - dense

    def test_all_tiles_of_a_dense_image(self, drawn: SyntheticTinyPerson) -> None:
        whole = {info["img_path"] for info in map(build(drawn).get_data_info, range(2))}
        dataset = build(drawn, tiles=TILES)
        paths = Counter(
            dataset.get_data_info(k)["img_path"] for k in range(len(dataset))
        )
        assert whole <= set(paths)
        assert len(paths) == drawn.train.images - drawn.train.dense_images
        assert set(paths.values()) == {9}

    def test_marked_by_a_box_of_a_tile_file(self, tmp_path: Path) -> None:
        coco = small_coco()
        coco["annotations"][0]["in_dense_image"] = True
        tiled, _ = tile_coco(coco, TileSettings((60, 80), (20, 20)))
        for image in tiled["images"]:
            image.pop("in_dense_image")
        with pytest.raises(ValueError, match="no image .* is left of 0"):
            of(tiled, tmp_path)
        assert len(of(tiled, tmp_path, drop_dense=False)) == 2


class TestFilter:
    def tiles(self, tmp_path: Path, **options) -> list[int]:
        dataset = of(
            small_coco(),
            tmp_path,
            tiles=dict(size=(20, 40), overlap=(0, 0)),
            min_box_size=0,
            **options,
        )
        return [dataset.get_data_info(k)["img_id"] for k in range(len(dataset))]

    def test_empty_tiles(self, tmp_path: Path) -> None:
        for kept in ({}, dict(filter_cfg=dict(filter_empty_gt=False))):
            assert self.tiles(tmp_path, **kept) == list(range(10))
        # Tiles 1 and 2 (x from 20 and 40) hold ignored boxes alone; 4 the half box.
        found = self.tiles(tmp_path, filter_cfg=dict(filter_empty_gt=True))
        assert found == [0, 3, 4, 8]

    def test_size_and_never_in_testing(self, tmp_path: Path) -> None:
        assert len(self.tiles(tmp_path, filter_cfg=dict(min_size=20))) == 10
        strict = dict(filter_empty_gt=True, min_size=21)
        with pytest.raises(ValueError, match="no image .* is left of 10"):
            self.tiles(tmp_path, filter_cfg=strict)
        assert len(self.tiles(tmp_path, filter_cfg=strict, test_mode=True)) == 10

    def test_an_empty_image_can_be_trained_on(
        self, drawn: SyntheticTinyPerson, tmp_path: Path
    ) -> None:
        coco = read_coco(drawn.train.annotation_file) | dict(annotations=[])
        dataset = build(drawn, ann_file=str(write(tmp_path / "a.json", coco)))
        sample = dataset[0]["data_samples"]
        assert sample.gt_instances.bboxes.shape == (0, 4)


def test_lazy_subset_and_pickle(drawn: SyntheticTinyPerson) -> None:
    expected = build(drawn, tiles=TILES, serialize_data=True)
    lazy = build(drawn, tiles=TILES, lazy_init=True)
    assert lazy.data_list == []
    assert len(lazy) == len(expected)
    assert lazy.get_data_info(3) == expected.get_data_info(3)
    copied = pickle.loads(pickle.dumps(expected.get_subset(4)))
    assert len(copied) == 4
    assert copied[2]["data_samples"].corner == expected[2]["data_samples"].corner


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(tiles=dict(overlaps=3)), TypeError, "unknown keys"),
        (dict(ignored_fields="logo"), TypeError, "ignored_fields .*'logo'"),
        (dict(min_box_size=-1), ValueError, "min_box_size .*-1"),
    ],
)
def test_wrong_arguments(tmp_path: Path, options, error, message) -> None:
    with pytest.raises(error, match=message):
        of(small_coco(), tmp_path, **options)
